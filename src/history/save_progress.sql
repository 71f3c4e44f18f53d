-- Saves what there is of a running reply, for other requests of the same visitor to see, and returns whether they want
-- no more of it.
-- $1 uuid the turn, $2 text the reply so far, $3 timestamptz now
UPDATE chat_turns SET progress = $2, progress_at = $3 WHERE incoming_id = $1 AND state = 'running' RETURNING is_stopped
