// PgBouncer in transaction mode, which is what Hyperdrive is like.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { freePort, isFree } from "./postgres.js";

/** Where PgBouncer is, if it is installed. */
export function findPooler() {
  return ["/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer", "/usr/bin/pgbouncer"].find((path) => existsSync(path));
}

/** Starts PgBouncer in front of the server that `url` leads to. Its settings are written to `file` and removed again. */
export async function startPooler(url, file, { connections = 10 } = {}) {
  const program = findPooler();
  if (!program) throw new Error("PgBouncer is missing (Debian: apt install pgbouncer)");
  // Before 1.21 PgBouncer knew nothing of prepared statements, and had no setting to switch them off.
  const [version, major, minor] = execFileSync(program, ["--version"], { encoding: "utf8" }).match(/(\d+)\.(\d+)/);
  const knowsPreparedStatements = Number(major) > 1 || Number(minor) >= 21;
  const [upstream, port] = [new URL(url), String(await freePort())];
  writeFileSync(file, `
[databases]
* = host=127.0.0.1 port=${upstream.port} user=${upstream.username} password=${upstream.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
${knowsPreparedStatements ? "max_prepared_statements = 0" : ""}
default_pool_size = ${connections}
max_client_conn = 2500
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
`);
  const process = spawn(program, ["--quiet", file], { stdio: "inherit" });
  for (let tries = 0; (await isFree(Number(port))) && tries < 100; tries += 1) await new Promise((resolve) => setTimeout(resolve, 50));
  rmSync(file);
  if (await isFree(Number(port))) {
    process.kill();
    throw new Error("PgBouncer does not start; the lines above say why");
  }
  return { process, port, version };
}
