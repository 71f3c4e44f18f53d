// A proxy in front of PostgreSQL that counts what a server asks of it.
// https://www.postgresql.org/docs/current/protocol-message-formats.html
import { connect, createServer } from "node:net";
import { once } from "node:events";

/** Messages that a client waits for an answer to: password, Query, Sync, Flush, FunctionCall. */
const ENDS_ROUND_TRIP = new Set([..."pQSHF"].map((letter) => letter.charCodeAt(0)));

/** `wire.counts`: connections, round trips to log in on them, and round trips for statements. */
export async function startWire(databaseUrl) {
  const target = new URL(databaseUrl);
  const sockets = new Set();
  const wire = { counts: undefined, reset: () => { wire.counts = { connections: 0, logins: 0, statements: 0 }; } };
  wire.reset();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    wire.counts.connections += 1;
    const counter = new FrontendMessages((type) => {
      if (type === undefined || type === "p".charCodeAt(0)) wire.counts.logins += 1;
      else if (ENDS_ROUND_TRIP.has(type)) wire.counts.statements += 1;
    });
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("end", () => to.end());
      from.on("close", () => sockets.delete(from));
      from.on("data", (bytes) => {
        if (from === client) counter.take(bytes);
        to.write(bytes);
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  wire.url = Object.assign(new URL(databaseUrl), { port: String(server.address().port) }).href;
  wire.stop = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return wire;
}

/** What asks for encryption, before the message that starts a session; PostgreSQL answers with one byte. */
const NEGOTIATIONS = new Set([80877103, 80877104]);

/** Finds the messages in what a client sends. The first ones have no type. */
class FrontendMessages {
  constructor(onMessage) {
    this.onMessage = onMessage;
    this.rest = Buffer.alloc(0);
    this.typeBytes = 0;
  }

  take(bytes) {
    this.rest = Buffer.concat([this.rest, bytes]);
    while (this.rest.length >= this.typeBytes + 4) {
      const end = this.typeBytes + this.rest.readUInt32BE(this.typeBytes);
      if (this.rest.length < end) return;
      this.onMessage(this.typeBytes ? this.rest[0] : undefined);
      if (this.typeBytes === 0 && !NEGOTIATIONS.has(this.rest.readUInt32BE(4))) this.typeBytes = 1;
      this.rest = this.rest.subarray(end);
    }
  }
}
