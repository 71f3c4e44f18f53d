// One PostgreSQL for everybody, with a database of its own for each server.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { findPooler, startPooler } from "../../scripts/pooler.js";
import { createDatabase, freePort, migrate, startPostgres } from "../../scripts/postgres.js";
import { replyOf } from "./reply.js";

const data = fileURLToPath(new URL("../../.data/", import.meta.url));

/** Settings that make runs alike, not PostgreSQL fast: nothing waits for the disk, nothing cleans up in between. */
const FLAGS = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "max_connections=2500"]
  .flatMap((flag) => ["-c", flag]);

/**
 * A folder for one run, and PostgreSQL in it. Behind Hyperdrive a Worker never waits for PostgreSQL to fork a process for
 * its connection; PgBouncer, if it is there, stands in for that (`pooled`).
 */
export async function startDatabase({ isPooled = Boolean(findPooler()) } = {}) {
  mkdirSync(data, { recursive: true });
  const directory = mkdtempSync(`${data}bench-run-`);
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const { server, url } = await startPostgres({ directory: `${directory}/postgres`, port: await freePort(), persistent: false, flags: FLAGS });
  let pooler;
  const stop = () => {
    pooler?.process.kill();
    return server.stop();
  };
  const failure = await createDatabase(url("postgres"), "template_bench").then(() => migrate(url("template_bench")));
  if (failure) {
    await stop();
    throw new Error(failure);
  }
  if (isPooled) pooler = await startPooler(url("postgres"), `${directory}/pooler.ini`, { connections: 20 });
  const newDatabase = async (name) => {
    await createDatabase(url("postgres"), name, "template_bench");
    return url(name);
  };
  const pooled = (address) => Object.assign(new URL(address), pooler && { port: pooler.port }).href;
  const pids = [server.process.pid, ...(pooler ? [pooler.process.pid] : [])];
  const [{ server_version: version }] = await query(url("postgres"), (sql) => sql`SHOW server_version`);
  return { directory, pids, version, pooler: pooler?.version, pooled, newDatabase, stop };
}

async function query(url, work) {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

/** How many messages came in, and how many replies of so many tokens stand there in full. */
export async function stored(url, tokens) {
  const [counts] = await query(url, (sql) => sql`
    SELECT count(*) FILTER (WHERE direction = 'incoming')::int AS messages,
      count(*) FILTER (WHERE direction = 'outgoing' AND body = ${replyOf(tokens).text})::int AS replies
    FROM messages`);
  return counts;
}

/** Empties the tables, so that no server has more rows to look through than another. */
export function empty(url) {
  return query(url, (sql) => sql`TRUNCATE users, messages CASCADE`);
}
