// A stand-in for model servers that a test scripts byte by byte.
import { createServer } from "node:http";
import { once } from "node:events";

/** Starts it. Set `model.reply = async (reply, request) => {}`; `model.requests` has what was asked. */
export async function startModel() {
  const model = { requests: [], reply: (reply) => reply.say("Hello from the model.") };
  const server = createServer(async (incoming, outgoing) => {
    if (incoming.method === "GET" && incoming.url === "/v1/models") return outgoing.end('{"data":[]}');
    const chunks = await Array.fromAsync(incoming);
    const request = { path: incoming.url, headers: incoming.headers, body: JSON.parse(Buffer.concat(chunks)) };
    model.requests.push(request);
    const reply = new Reply(outgoing);
    try {
      await model.reply(reply, request);
    } catch (error) {
      if (!outgoing.destroyed) console.error("stand-in model:", error);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  model.url = `http://127.0.0.1:${server.address().port}`;
  model.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return model;
}

/** One answer of the model. */
class Reply {
  constructor(outgoing) {
    this.outgoing = outgoing;
    this.isClosed = new Promise((resolve) => outgoing.once("close", resolve));
  }

  /** Answers with a status other than 200. */
  status(code, headers = {}, body = '{"error":{"message":"no"}}') {
    this.outgoing.writeHead(code, { "Content-Type": "application/json", ...headers }).end(body);
  }

  /** Sends bytes at once, as a piece of their own. */
  async write(bytes) {
    if (!this.outgoing.headersSent) {
      this.outgoing.writeHead(200, { "Content-Type": "text/event-stream" });
      this.outgoing.socket.setNoDelay(true);
    }
    await new Promise((resolve) => this.outgoing.write(bytes, resolve));
  }

  /** Sends one token in OpenAI's shape. */
  token(content) {
    return this.write(token(content));
  }

  /** Sends the usual end: finish reason, usage, end marker. */
  async finish() {
    await this.write(FINISH);
    this.outgoing.end();
  }

  /** A whole reply, word by word. */
  async say(text) {
    for (const word of text.match(/\S+\s*/g) ?? []) await this.token(word);
    await this.finish();
  }

  /** Ends the stream as it is. */
  end() {
    this.outgoing.end();
  }

  /** Cuts the connection. */
  cut() {
    this.outgoing.destroy();
  }
}

/** One chunk of OpenAI's with this content. */
export function token(content) {
  return `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`;
}

export const FINISH =
  'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n' +
  'data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}\n\n' +
  "data: [DONE]\n\n";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
