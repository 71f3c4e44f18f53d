// The migrations, on an empty database and on one that the WhatsApp agent made and filled, and schema.sql beside them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import postgres from "postgres";
import { migrate } from "../scripts/postgres.js";
import { newDatabase, startService } from "./helpers/service.js";

// As the guide prints it.
const GUIDE_SCHEMA = `
-- Users table
CREATE TABLE users (
    id UUID PRIMARY KEY,
    phone_number VARCHAR(20) UNIQUE NOT NULL,
    name VARCHAR(255),
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

-- Messages table
CREATE TABLE messages (
    id UUID PRIMARY KEY,
    user_id UUID REFERENCES users(id),
    direction VARCHAR(20) NOT NULL CHECK (direction IN ('incoming', 'outgoing')),
    body TEXT,
    media_url TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);`;

async function withDatabase(url, work) {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

/** Every table, column, constraint, index and function, but dbmate's own. */
const catalogue = (url) => withDatabase(url, async (sql) => ({
  columns: (await sql`
    SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'schema_migrations' ORDER BY 1, 2`).map(Object.values),
  constraints: (await sql`
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 'schema_migrations'::regclass ORDER BY 1, 2`).map(Object.values),
  indexes: (await sql`
    SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'schema_migrations' ORDER BY 1, 2`).map(Object.values),
  functions: (await sql`
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1`).map(Object.values),
}));

test("an empty database, the guide's database and schema.sql have the same catalogue", async () => {
  const fromNothing = await newDatabase("template1");
  assert.equal(migrate(fromNothing), undefined);

  const fromGuide = await newDatabase("template1");
  const whatsApp = { user: randomUUID(), message: randomUUID() };
  await withDatabase(fromGuide, async (sql) => {
    await sql.unsafe(GUIDE_SCHEMA);
    await sql`INSERT INTO users (id, phone_number, name) VALUES (${whatsApp.user}, '+1234567890', 'Jane')`;
    await sql`INSERT INTO messages (id, user_id, direction, body) VALUES (${whatsApp.message}, ${whatsApp.user}, 'incoming', 'Hi')`;
  });
  assert.equal(migrate(fromGuide), undefined);

  const fromSchema = await newDatabase("template1");
  await withDatabase(fromSchema, (sql) => sql.unsafe(readFileSync("schema.sql", "utf8") + "CREATE TABLE schema_migrations ();"));

  const expected = await catalogue(fromNothing);
  assert.ok(expected.columns.length > 20);
  assert.equal(expected.functions.length, 3);
  assert.deepEqual(await catalogue(fromGuide), expected);
  assert.deepEqual(await catalogue(fromSchema), expected);

  // The WhatsApp agent's rows are as they were, and stay so when the website's visitors come.
  const service = await startService({ database: fromGuide });
  try {
    const before = await service.sql`SELECT users.*, messages.* FROM users JOIN messages ON user_id = users.id`;
    const userId = "a-very-long-id-with-more-than-twenty-characters";
    assert.equal((await service.chat({ user_id: userId, content: "My name is Al" })).status, 200);
    const after = await service.sql`SELECT users.*, messages.* FROM users JOIN messages ON user_id = users.id WHERE phone_number = '+1234567890'`;
    assert.deepEqual([...after], [...before]);
    assert.equal((await service.messages()).length, 3);
  } finally {
    await service.stop();
  }
});

test("a wider phone_number is left alone, and migrating again changes nothing", async () => {
  const url = await newDatabase("template1");
  await withDatabase(url, (sql) => sql.unsafe(GUIDE_SCHEMA.replace("VARCHAR(20) UNIQUE", "TEXT UNIQUE")));
  assert.equal(migrate(url), undefined);
  const before = await catalogue(url);
  assert.ok(before.columns.some(([table, , column, type]) => table === "users" && column === "phone_number" && type === "text"));
  assert.equal(migrate(url), undefined);
  assert.deepEqual(await catalogue(url), before);
});
