-- Closes a turn in one round trip: stores the reply, if there is one, and what became of the turn. Repeating it changes
-- nothing. Returns no row when the turn was never opened.
--
-- $1 uuid         the turn                         $6 text   provider
-- $2 uuid         id for the reply                 $7 text   model
-- $3 text         the reply, or null               $8 text   why the model stopped
-- $4 timestamptz  when it was finished             $9 int4   prompt tokens
-- $5 text         complete, partial or failed      $10 int4  completion tokens
-- $12 int4        the attempt that ends             $11 text  code of the error
WITH turn AS (
    SELECT user_id, created_at, state = 'running' AND attempt = $12 AS is_running FROM chat_turns WHERE incoming_id = $1
), outgoing AS (
    -- The clocks of two machines may differ; a reply never sorts before its question.
    INSERT INTO messages (id, user_id, direction, body, created_at)
    SELECT $2, user_id, 'outgoing', $3, greatest($4, created_at + interval '1 microsecond') FROM turn
    WHERE is_running AND $3 IS NOT NULL
    ON CONFLICT (id) DO NOTHING
), closed AS (
    UPDATE chat_turns
    SET outgoing_id = CASE WHEN $3 IS NOT NULL THEN $2 END, finished_at = $4, state = $5, provider = $6, model = $7,
        finish_reason = $8, prompt_tokens = $9, completion_tokens = $10, error = $11, progress = NULL, progress_at = NULL
    WHERE incoming_id = $1 AND state = 'running' AND attempt = $12
)
SELECT is_running FROM turn
