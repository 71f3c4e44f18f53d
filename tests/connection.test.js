// The Worker's connections to PostgreSQL: how they log in, and how they end.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import postgres from "postgres";
import { newDatabase, startService, until } from "./helpers/service.js";

const METHODS = ["trust", "password", "md5", "scram-sha-256"];
const PASSWORD = "it's a \"password\"";

let database;
let sql;
before(async () => {
  database = await newDatabase();
  sql = postgres(database, { max: 1, onnotice: () => {} });
  await sql.unsafe(METHODS.map((method) => `
    SET password_encryption = '${method === "md5" ? "md5" : "scram-sha-256"}';
    DROP ROLE IF EXISTS "by-${method}";
    CREATE ROLE "by-${method}" SUPERUSER LOGIN PASSWORD '${PASSWORD.replaceAll("'", "''")}';
  `).join(""));
  // Rules of their own for these roles, in front of all others.
  await sql.unsafe(`
    CREATE TEMP TABLE rules AS SELECT 1 AS rank, unnest(string_to_array(pg_read_file(current_setting('hba_file')), E'\\n')) AS rule;
    INSERT INTO rules VALUES ${METHODS.map((method) => `(0, 'host all "by-${method}" 127.0.0.1/32 ${method}')`)};
    DO $$ BEGIN
      EXECUTE format('COPY (SELECT rule FROM rules ORDER BY rank) TO %L', current_setting('hba_file'));
    END $$;
    SELECT pg_reload_conf();
  `);
});
after(() => sql.end());

/** The database's URL for another user. */
const urlFor = (username, password) => Object.assign(new URL(database), { username, password: encodeURIComponent(password) }).href;

/** What the health check says of a database at this URL. */
async function healthOf(url) {
  const service = await startService({ database: url, auditDatabase: database });
  try {
    const response = await service.fetch("/health");
    return { status: response.status, database: (await response.json()).database };
  } finally {
    await service.stop();
  }
}

for (const method of METHODS) {
  test(`logging in by ${method}`, async () => {
    await until(async () => (await sql`SELECT FROM pg_hba_file_rules WHERE user_name[1] = ${`by-${method}`}`).count === 1);
    assert.deepEqual(await healthOf(urlFor(`by-${method}`, PASSWORD)), { status: 200, database: "ok" });
    const other = method === "trust" ? { status: 200, database: "ok" } : { status: 503, database: "unavailable" };
    assert.deepEqual(await healthOf(urlFor(`by-${method}`, "another one")), other);
  });
}

test("connections end in peace", async () => {
  const target = new URL(database);
  const ends = [];
  const server = createServer((client) => {
    const upstream = connect({ host: target.hostname, port: Number(target.port) });
    let last;
    client.on("data", (bytes) => (last = bytes));
    client.on("close", () => ends.push(last.toString("latin1")));
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) socket.on("error", () => socket.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const service = await startService({ database: Object.assign(new URL(database), { port: server.address().port }).href, auditDatabase: database });
  try {
    const count = 20;
    const requests = Array.from({ length: count }, async (_, index) => {
      assert.equal((await service.fetch("/health")).status, 200);
      assert.equal((await service.chat({ user_id: `regular-${index}`, content: "Hello" })).status, 200);
      assert.equal((await service.stream({ user_id: `stream-${index}`, content: "Hello" })).status, 200);
    });
    await Promise.all(requests);
    // A turn records its end on the connection that recorded its beginning.
    await until(() => ends.length >= 3 * count);
    assert.deepEqual(ends, Array(3 * count).fill("X\0\0\0\x04"));
  } finally {
    await service.stop();
    server.close();
  }
});
