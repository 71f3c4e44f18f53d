-- The turn that a ticket opens. A ticket is good once, not for long, and not for another visitor.
-- $1 uuid ticket, $2 timestamptz when it may have been given, at the earliest, $3 text phone_number of who presents it, or null
UPDATE chat_turns SET ticket = NULL
FROM users
WHERE ticket = $1 AND coalesce(ticket_at, chat_turns.created_at) >= $2 AND users.id = chat_turns.user_id
    AND ($3 IS NULL OR users.phone_number = $3)
RETURNING incoming_id
