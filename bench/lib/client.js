// One visitor: a kept-alive connection on a bare socket that takes turns and checks what came of them. It keeps the
// bytes as they come and looks into them only when the turn is over, so that it costs the machine as little as possible.
import { connect } from "node:net";
import { replyOf } from "./reply.js";

const CONTENT = /"content": ?"((?:[^"\\]|\\.)+)"/g;
const FINAL = /"is_final": ?true/g;
const FIRST_CONTENT = /"content": ?"[^"]/;

/** A request with this body, as this server takes it. */
export function request({ kind, port }, body) {
  const [path, json] = kind === "direct"
    ? ["/v1/chat/completions", { model: "stand-in", stream: true, messages: [{ role: "user", content: body.content }] }]
    : ["/chat/stream", { content: body.content, user_id: body.user_id, media_urls: [], audio_urls: [] }];
  const text = JSON.stringify(json);
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n` +
    `${body.token ? `X-Chat-Token: ${body.token}\r\n` : ""}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

export class Client {
  constructor(target) {
    this.target = target;
  }

  /** Sends a message and reads the reply to its end. Times are in ms since it was sent. `onFirst` hears of the first text. */
  turn(body, spec, { timeout = 60_000, onFirst } = {}) {
    return new Promise((resolve, reject) => {
      this.fail = (why) => {
        this.close();
        reject(new Error(`${this.target.name}: ${why}; it said ${JSON.stringify(turn.text().slice(0, 300))}`));
      };
      this.take = (bytes) => {
        if (!turn.take(bytes)) return;
        clearTimeout(this.timer);
        this.take = undefined;
        try {
          resolve(turn.outcome(this.target, spec));
        } catch (error) {
          this.fail(error.message);
        }
      };
      this.timer = setTimeout(() => this.fail(`no complete reply within ${timeout / 1000} s`), timeout);
      this.open();
      const turn = new Turn(onFirst);
      this.inProgress = turn;
      this.socket.write(request(this.target, body));
    });
  }

  /** Whether what has come of the reply so far is what it should be. */
  isInStep(spec) {
    const reply = Array.from(this.inProgress.text().matchAll(CONTENT), (match) => match[1]).join("");
    return reply !== "" && replyOf(spec.tokens).text.startsWith(reply);
  }

  open() {
    if (this.socket && !this.socket.destroyed) return;
    const socket = connect({ host: "127.0.0.1", port: this.target.port, noDelay: true });
    socket.on("data", (bytes) => this.take?.(bytes));
    socket.on("error", (error) => this.take && this.fail(error.message));
    socket.on("close", () => this.take && this.fail("the connection was closed"));
    this.socket = socket;
  }

  close() {
    clearTimeout(this.timer);
    this.take = undefined;
    this.socket?.destroy();
  }
}

/** The bytes of one answer. */
class Turn {
  constructor(onFirst) {
    this.onFirst = onFirst;
    this.sent = performance.now();
    this.head = "";
    this.pieces = [];
    // When bytes came, and how many there were by then.
    this.arrivals = [];
    this.size = 0;
    this.left = 0;
    this.digits = undefined;
  }

  text() {
    return this.headers === undefined ? this.head : Buffer.concat(this.pieces).toString();
  }

  /** Takes bytes; `true` when the answer is complete. */
  take(bytes) {
    if (this.headers === undefined) {
      this.head += bytes.toString("latin1");
      const end = this.head.indexOf("\r\n\r\n");
      if (end < 0) return false;
      this.headers = this.head.slice(0, end);
      bytes = Buffer.from(this.head.slice(end + 4), "latin1");
      const length = /^content-length: *(\d+)/im.exec(this.headers);
      this.length = length && Number(length[1]);
    }
    const isOver = this.length === null ? this.takeChunks(bytes) : this.keep(bytes) >= this.length;
    if (this.size > (this.arrivals.at(-1)?.size ?? 0)) this.arrivals.push({ at: performance.now() - this.sent, size: this.size });
    if (this.first === undefined && this.size > 0 && FIRST_CONTENT.test(this.text())) {
      this.first = this.arrivals.at(-1).at;
      this.onFirst?.();
    }
    return isOver;
  }

  keep(bytes) {
    if (bytes.length > 0) this.pieces.push(bytes);
    return (this.size += bytes.length);
  }

  /** RFC 9112, section 7.1. Servers send a chunk for each token, so this makes no text of their sizes. */
  takeChunks(bytes) {
    let at = 0;
    while (at < bytes.length) {
      if (this.left > 0) {
        const end = Math.min(bytes.length, at + this.left);
        this.keep(bytes.subarray(at, end));
        this.left -= end - at;
        at = end;
        continue;
      }
      const byte = bytes[at];
      at += 1;
      if (byte === 13) continue;
      if (byte !== 10) {
        // A hexadecimal digit, of either case.
        this.digits = (this.digits ?? 0) * 16 + (byte > 57 ? (byte | 32) - 87 : byte - 48);
        continue;
      }
      // The line break behind a chunk's data is a line without digits.
      if (this.isLast) return true;
      this.left = this.digits ?? 0;
      this.isLast = this.digits === 0;
      this.digits = undefined;
    }
    return false;
  }

  outcome(target, { tokens, gap = 0 }) {
    const total = performance.now() - this.sent;
    if (!/^HTTP\/1\.1 200 /.test(this.headers)) throw new Error(this.headers.split("\r\n")[0]);
    const session = /^x-chat-token: *(\S+)/im.exec(this.headers)?.[1];
    if (target.kind === "empty") return { first: total, total, events: 0, waits: [], session };
    const text = this.text();
    const expected = replyOf(tokens);
    const waits = [];
    let reply = "";
    let events = 0;
    let next = 0;
    let arrival = 0;
    for (const match of text.matchAll(CONTENT)) {
      reply += match[1];
      events += 1;
      while (this.arrivals[arrival].size < match.index + match[0].length) arrival += 1;
      // Against the pace at which the first token came: how long each later one was held back.
      for (; next < tokens && expected.starts[next] < reply.length; next += 1) waits.push(this.arrivals[arrival].at - this.first - next * gap);
    }
    if (reply !== expected.text) throw new Error(`the reply has ${reply.length} characters instead of ${expected.text.length}, or others`);
    const isEnded = target.kind === "chat"
      ? text.match(FINAL)?.length === 1 && text.lastIndexOf('"content"') < text.search(FINAL) && !text.includes('"error"')
      : text.trimEnd().endsWith("data: [DONE]");
    if (!isEnded) throw new Error(`the reply does not end as it should: ${JSON.stringify(text.slice(-300))}`);
    return { first: this.first, total, events, waits, session };
  }
}
