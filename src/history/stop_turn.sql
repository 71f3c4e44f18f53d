-- Asks for the end of a visitor's running reply.
-- $1 text phone_number
UPDATE chat_turns SET is_stopped = true
WHERE incoming_id = (
    SELECT chat_turns.incoming_id
    FROM users JOIN chat_turns ON chat_turns.user_id = users.id
    WHERE users.phone_number = $1 AND is_proven
    ORDER BY chat_turns.created_at DESC, chat_turns.incoming_id DESC LIMIT 1
) AND state = 'running'
RETURNING incoming_id
