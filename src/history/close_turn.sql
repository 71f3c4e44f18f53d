-- Closes a turn in one round trip: stores the reply, if there is one, what became of the turn, and what it cost.
-- Repeating it changes nothing. Returns no row when the turn was never opened, or was erased.
--
-- $1 uuid         the turn                         $9 int4   prompt tokens
-- $2 uuid         id for the reply                 $10 int4  completion tokens
-- $3 text         the reply, or null               $11 text  code of the error
-- $4 timestamptz  when it was finished             $12 int4  the attempt that ends
-- $5 text         complete, partial or failed      $13 int4  tokens to charge, or null without budgets
-- $6 text         provider                         $14 text  the address's key, or null
-- $7 text         model                            $15 bool  whether there is a budget for everybody
-- $8 text         why the model stopped
WITH turn AS (
    SELECT user_id, created_at, is_proven, charged, state = 'running' AND attempt = $12 AS is_running
    FROM chat_turns WHERE incoming_id = $1
), outgoing AS (
    -- The clocks of two machines may differ; a reply never sorts before its question.
    INSERT INTO messages (id, user_id, direction, body, created_at)
    SELECT $2, user_id, 'outgoing', $3, greatest($4, created_at + interval '1 microsecond') FROM turn
    WHERE is_running AND $3 IS NOT NULL
    ON CONFLICT (id) DO NOTHING
), settled AS (
    -- In the order in which open_turn.sql takes them, so that two statements never wait for each other.
    INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
    SELECT (created_at AT TIME ZONE 'UTC')::date, scope, key, $13 - charged
    FROM turn, LATERAL (VALUES
        ('visitor', CASE WHEN is_proven THEN user_id::text ELSE 'unproven ' || user_id END),
        ('ip', $14),
        ('total', CASE WHEN $15 THEN '' END)
    ) AS payer (scope, key)
    WHERE is_running AND key IS NOT NULL AND $13 IS DISTINCT FROM charged AND $13 IS NOT NULL
    ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens
), closed AS (
    UPDATE chat_turns
    SET outgoing_id = CASE WHEN $3 IS NOT NULL THEN $2 END, finished_at = $4, state = $5, provider = $6, model = $7,
        finish_reason = $8, prompt_tokens = $9, completion_tokens = $10, error = $11, progress = NULL, progress_at = NULL,
        charged = coalesce($13, charged)
    WHERE incoming_id = $1 AND state = 'running' AND attempt = $12
)
SELECT is_running FROM turn
