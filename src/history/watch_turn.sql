-- Where a turn stands.
-- $1 uuid the turn
SELECT chat_turns.state, coalesce(messages.body, chat_turns.progress, '') AS reply,
    coalesce(chat_turns.progress_at, chat_turns.created_at) AS alive_at
FROM chat_turns LEFT JOIN messages ON messages.id = chat_turns.outgoing_id
WHERE chat_turns.incoming_id = $1
