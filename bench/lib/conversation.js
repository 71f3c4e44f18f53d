// A long conversation, put straight into PostgreSQL.
import postgres from "postgres";

/** Has a visitor take a turn, adds earlier ones of 300 characters a message, and returns the visitor's session. */
export async function conversation(bench, running, messages) {
  const { session } = await bench.load.ask({ target: running.target, spec: { tokens: 1 }, clients: 1, turns: 1, anonymous: true });
  const sql = postgres(running.database, { max: 1, onnotice: () => {} });
  await sql`
    WITH visitor AS (
      SELECT id FROM users WHERE phone_number LIKE 'chat\\_visitor\\_%'
    ), said AS (
      SELECT number, gen_random_uuid() AS question, gen_random_uuid() AS answer, now() - interval '1 minute' * number AS at
      FROM generate_series(1, ${messages / 2}::int) AS number
    ), stored AS (
      INSERT INTO messages (id, user_id, direction, body, created_at)
      SELECT question, visitor.id, 'incoming', repeat('A question of mine. ', 15), at FROM said, visitor
      UNION ALL
      SELECT answer, visitor.id, 'outgoing', repeat('An answer to it all. ', 15), at + interval '1 second' FROM said, visitor
    )
    INSERT INTO chat_turns (incoming_id, outgoing_id, user_id, state, is_proven, created_at, finished_at)
    SELECT question, answer, visitor.id, 'complete', true, at, at + interval '1 second' FROM said, visitor`;
  await sql.unsafe("ANALYZE");
  await sql.end();
  return session;
}
