// A visitor's bad line: a TCP proxy in front of the service that a test cuts.
import { connect, createServer } from "node:net";
import { once } from "node:events";

/** Starts it. While `line.isDown`, connections are refused; `line.cut()` ends those there are. */
export async function startLine(target) {
  const { hostname, port } = new URL(target);
  const sockets = new Set();
  const line = { isDown: false };
  const server = createServer({ noDelay: true }, (client) => {
    if (line.isDown) return client.resetAndDestroy();
    const upstream = connect({ host: hostname, port: Number(port), noDelay: true });
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => { sockets.delete(from); to.destroy(); });
      // Byte by byte would be a worse line than any; this splits events and characters just as well.
      from.on("data", (bytes) => {
        for (let at = 0; at < bytes.length; at += 97) to.write(bytes.subarray(at, at + 97));
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  line.url = `http://127.0.0.1:${server.address().port}`;
  line.cut = () => { for (const socket of sockets) socket.resetAndDestroy(); };
  line.stop = () => { line.cut(); server.close(); };
  return line;
}
