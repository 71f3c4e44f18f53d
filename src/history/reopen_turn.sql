-- Takes over a turn that has no reply: one that failed, or one that nobody has been working on for a while. Of several
-- requests that try, one gets the row.
-- $1 uuid the turn, $2 timestamptz now, $3 timestamptz when it must have shown a sign of life
UPDATE chat_turns SET state = 'running', attempt = attempt + 1, error = NULL, finished_at = NULL, progress = NULL, progress_at = $2
WHERE incoming_id = $1 AND (state = 'failed' OR state = 'running' AND coalesce(progress_at, created_at) < $3)
RETURNING attempt
