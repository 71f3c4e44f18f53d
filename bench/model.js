// The stand-in model: an OpenAI-compatible server that says what `lib/reply.js` has, token by token, at the pace that the
// message asks for. It speaks HTTP on bare sockets and writes prepared bytes, because it shares two cores with the
// servers that are measured. `lib/processes.js` starts it; it ends with its parent.
import { createServer } from "node:net";
import { asked, token } from "./lib/reply.js";
import { mean } from "./lib/stats.js";

const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const event = (delta, finish = null) => `data: ${JSON.stringify({
  id: "chatcmpl-C2bqXjQ7hWm0aTz5pVfYkRdE81uNs", object: "chat.completion.chunk", created: 1790000000, model: "stand-in",
  system_fingerprint: "fp_44709d6fcb", choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
})}\n\n`;
const usage = (tokens) =>
  `data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":${tokens},"total_tokens":${tokens + 11}}}\n\n`;

const HEAD =
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
const START = Buffer.from(HEAD + chunk(event({ role: "assistant", content: "", refusal: null })));
const end = (tokens) => Buffer.from(chunk(event({}, "stop")) + chunk(usage(tokens)) + chunk("data: [DONE]\n\n") + "0\r\n\r\n");

const prepared = new Map();
/** The bytes of a token, made once for each text. */
function bytesOf(index) {
  const text = token(index);
  let bytes = prepared.get(text);
  if (!bytes) prepared.set(text, (bytes = Buffer.from(chunk(event({ content: text })))));
  return bytes;
}

const blocks = new Map();
/** The bytes of the first `count` tokens. */
function block(count) {
  let bytes = blocks.get(count);
  if (!bytes) blocks.set(count, (bytes = Buffer.concat(Array.from({ length: count }, (_, index) => bytesOf(index)))));
  return bytes;
}

/** Replies under way. One ticker serves them all, by the clock, so that a late tick delays no later token. */
const replies = new Set();
let ticker;
let late = [];
/** Sizes of the requests, in bytes. */
let requests = [];

function tick() {
  const now = performance.now();
  for (const reply of replies) reply.advance(now);
  if (replies.size === 0) ticker = void clearInterval(ticker);
}

class Reply {
  constructor(socket, spec) {
    Object.assign(this, spec, { socket, sent: 0, started: performance.now() });
    socket.write(START);
    this.advance(this.started);
    if (this.sent < this.tokens) {
      replies.add(this);
      ticker ??= setInterval(tick, 1);
    }
  }

  due(index) {
    return this.started + this.first + index * this.gap + (index === this.tokens - 1 ? this.hold : 0);
  }

  advance(now) {
    if (this.gap === 0 && this.sent === 0 && now >= this.started + this.first) {
      this.sent = this.hold ? this.tokens - 1 : this.tokens;
      this.socket.write(block(this.sent));
    }
    while (this.sent < this.tokens && this.due(this.sent) <= now) {
      late.push(now - this.due(this.sent));
      this.socket.write(bytesOf(this.sent));
      this.sent += 1;
    }
    if (this.sent === this.tokens) {
      replies.delete(this);
      this.socket.write(end(this.tokens));
    }
  }
}

const server = createServer({ noDelay: true }, (socket) => {
  let text = "";
  let reply;
  socket.on("error", () => {});
  socket.on("close", () => replies.delete(reply));
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
    const head = text.indexOf("\r\n\r\n");
    if (head < 0) return;
    const length = /^content-length: *(\d+)/im.exec(text.slice(0, head));
    if (!length) return socket.end("HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n");
    const end = head + 4 + Number(length[1]);
    if (text.length < end) return;
    const body = text.slice(head + 4, end);
    text = text.slice(end);
    requests.push(body.length);
    reply = new Reply(socket, asked(body));
  });
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => process.send({ port: server.address().port }));

process.on("message", () => {
  late.sort((a, b) => a - b);
  process.send({
    tokens: late.length, late: { median: late[late.length >> 1] ?? 0, p99: late[Math.floor(late.length * 0.99)] ?? 0 },
    request: mean(requests),
  });
  late = [];
  requests = [];
});
process.on("disconnect", () => process.exit());
