// A TCP proxy in front of PostgreSQL that breaks connections at chosen steps of a turn.
import { connect, createServer } from "node:net";
import { once } from "node:events";

/** Each step of a turn that a fault can hit, by the function that the statement on its way calls. */
const STATEMENTS = { open: "chat_open_turn(", close: "chat_close_turn(" };

/**
 * Starts a proxy to a database. `proxy.fault = { step, kind, times }` breaks the next `times` connections at a step:
 * - `connect`: when the Worker connects;
 * - `open`, `close`: when it sends the statement, which does not arrive;
 * - `opened`, `closed`: when PostgreSQL answers it, so that it has taken effect and nobody knows.
 * Kinds: `cut` ends the connection, `blackhole` forwards nothing any more, `delay` waits for 300 ms.
 */
export async function startProxy(databaseUrl) {
  const target = new URL(databaseUrl);
  const sockets = new Set();
  const proxy = { fault: undefined, injected: 0 };

  const strike = (step) => {
    const { fault } = proxy;
    if (fault?.step !== step || fault.times <= 0) return undefined;
    fault.times -= 1;
    proxy.injected += 1;
    return fault.kind;
  };

  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    let isDark = false;
    let pending;
    let hold = Promise.resolve();
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", cut);
      socket.on("close", () => { sockets.delete(socket); cut(); });
    }
    /** Applies a fault, then passes the bytes on, in order. */
    const pass = (step, to, bytes) => {
      const kind = step && strike(step);
      if (kind === "cut") return cut();
      if (kind === "blackhole") isDark = true;
      if (isDark) return;
      if (kind === "delay") hold = hold.then(() => new Promise((resolve) => setTimeout(resolve, 300)));
      hold = hold.then(() => { if (!to.destroyed && !isDark) to.write(bytes); });
    };
    const kind = strike("connect");
    if (kind === "cut") return cut();
    if (kind === "blackhole") isDark = true;
    if (kind === "delay") hold = new Promise((resolve) => setTimeout(resolve, 300));
    client.on("data", (bytes) => {
      const [step] = Object.entries(STATEMENTS).find(([, words]) => bytes.includes(words)) ?? [];
      pending = step && (step === "open" ? "opened" : "closed");
      pass(step, upstream, bytes);
    });
    upstream.on("data", (bytes) => {
      const step = pending;
      pending = undefined;
      pass(step, client, bytes);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  proxy.url = Object.assign(new URL(databaseUrl), { hostname: "127.0.0.1", port: String(server.address().port) }).href;
  /** Ends every connection there is. */
  proxy.cutAll = () => { for (const socket of sockets) socket.destroy(); };
  proxy.stop = () => { proxy.cutAll(); server.close(); };
  return proxy;
}
