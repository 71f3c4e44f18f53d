-- The turn that a ticket opens. A ticket is good once, and not for long.
-- $1 uuid ticket, $2 timestamptz the oldest turn it may open
UPDATE chat_turns SET ticket = NULL WHERE ticket = $1 AND created_at >= $2 RETURNING incoming_id
