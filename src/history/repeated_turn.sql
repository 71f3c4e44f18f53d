-- The turn that a visitor's idempotency key belongs to, and its message, to hold a repetition against. The ticket of one
-- with the same text takes the place of the earlier one, which may never have arrived.
-- $1 text phone_number, $2 text key, $3 uuid ticket, or null, $4 text body, $5 timestamptz now
UPDATE chat_turns SET ticket = $3, ticket_at = $5
FROM users, chat_idempotency_keys AS keys, messages
WHERE users.phone_number = $1 AND keys.user_id = users.id AND keys.key = $2
    AND chat_turns.incoming_id = keys.turn_id AND messages.id = keys.turn_id AND messages.body = $4
RETURNING messages.id, coalesce(
    (SELECT json_agg(json_build_array(kind, url) ORDER BY kind DESC, position)::text
     FROM chat_attachments WHERE message_id = messages.id), '[]') AS attachments
