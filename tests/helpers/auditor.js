// Compares what clients were told with what PostgreSQL holds.

/**
 * `told` has, for each message that a client sent: `user_id`, `content` (of which no two are the same), and what the
 * client knows of it: `outcome` `complete` or `partial` with the `reply` it was shown, `refused` (an error before any
 * event), or `unknown` (the connection broke). Of each visitor all messages are expected, in the order in which they were
 * sent. Returns a list of complaints, one line each.
 */
export async function audit(sql, told) {
  const visitors = [...new Set(told.map(({ user_id }) => `chat_${user_id}`))];
  const rows = await sql`
    SELECT users.phone_number, question.id AS question_id, question.body AS content, question.created_at AS asked_at,
      turn.state, reply.id AS reply_id, reply.body AS reply, (reply.created_at, reply.id) > (question.created_at, question.id) AS is_in_order
    FROM messages AS question
    JOIN users ON users.id = question.user_id
    LEFT JOIN chat_turns AS turn ON turn.incoming_id = question.id
    LEFT JOIN messages AS reply ON reply.id = turn.outgoing_id
    WHERE question.direction = 'incoming' AND users.phone_number IN ${sql(visitors)}
    ORDER BY question.created_at, question.id`;
  const complaints = [];
  const byContent = Map.groupBy(rows, ({ content }) => content);
  for (const { user_id, content, outcome, reply } of told) {
    const found = byContent.get(content) ?? [];
    const complain = (what) => complaints.push(`${outcome} "${content}": ${what}`);
    if (found.length > 1) complain(`stored ${found.length} times`);
    const [row] = found;
    if (!row) {
      if (outcome === "complete" || outcome === "partial") complain("lost");
      continue;
    }
    if (row.phone_number !== `chat_${user_id}`) complain(`stored for ${row.phone_number}`);
    if (!row.state) complain("no turn");
    if (row.state === "running") complain("still running");
    if (row.reply_id && !row.is_in_order) complain("the reply sorts before its question");
    if ((row.state === "complete" || row.state === "partial") && !row.reply_id) complain("the reply is lost");
    if (outcome === "complete" || outcome === "partial") {
      if (row.state !== outcome) complain(`marked ${row.state}`);
      if (row.reply_id && row.reply !== reply) complain(`stored as ${JSON.stringify(row.reply)}, shown as ${JSON.stringify(reply)}`);
    }
  }
  const known = new Set(told.map(({ content }) => content));
  for (const { content } of rows) if (!known.has(content)) complaints.push(`"${content}": nobody sent it`);

  const counts = await sql`
    SELECT phone_number, (SELECT count(*)::int FROM messages WHERE user_id = users.id AND direction = 'outgoing') AS replies,
      (SELECT count(outgoing_id)::int FROM chat_turns WHERE user_id = users.id) AS linked
    FROM users WHERE phone_number IN ${sql(visitors)}`;
  for (const { phone_number, replies, linked } of counts) {
    if (replies !== linked) complaints.push(`${phone_number} has ${replies} replies for ${linked} turns that have one`);
  }

  // One visitor's messages are in the order in which they were sent, one after the other.
  for (const [user, sent] of Map.groupBy(told, ({ user_id }) => user_id)) {
    const order = rows.filter(({ phone_number }) => phone_number === `chat_${user}`).map(({ content }) => content);
    const expected = sent.map(({ content }) => content).filter((content) => order.includes(content));
    if (order.join("\n") !== expected.join("\n")) complaints.push(`${user}: out of order: ${order.join(", ")}`);
  }
  return complaints;
}
