-- Takes over a turn that has no reply: one that failed, or one that nobody has been working on for a while. Of several
-- requests that try, one gets the row: the number of its attempt, and which budget refuses a reply.
--
-- $1 to $7  what chat_pay wants to know
-- $8 uuid the turn, $9 timestamptz now, $10 timestamptz when it must have shown a sign of life
WITH payer AS (
    SELECT incoming_id FROM chat_turns
    WHERE incoming_id = $8 AND (state = 'failed' OR state = 'running' AND coalesce(progress_at, created_at) < $10)
    FOR UPDATE
), paid AS (
    -- As a column, so that it is called for a turn that is to be paid for, and for no other.
    SELECT incoming_id, chat_pay($1, $2, $3, $4, $5, $6, $7) AS pay FROM payer
)
UPDATE chat_turns
SET state = 'running', attempt = chat_turns.attempt + 1, error = NULL, finished_at = NULL, progress = NULL, progress_at = $9,
    is_stopped = false, charged = coalesce($2, 0), payers = (pay).payers, paid_on = $1, refused_by = (pay).refused_by
FROM paid WHERE chat_turns.incoming_id = paid.incoming_id
RETURNING chat_turns.attempt, chat_turns.refused_by
