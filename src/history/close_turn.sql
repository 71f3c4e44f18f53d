-- Closes a turn in one round trip: stores the reply, if there is one, what became of the turn, and settles what it cost.
-- Repeating it changes nothing. No row when the turn was never opened; false when it is over already. When the visitor
-- had everything erased while their message was on its way, that goes as well, and there is no row either.
--
-- $1 uuid         the turn                         $8 text   why the model stopped
-- $2 uuid         id for the reply                 $9 int4   prompt tokens
-- $3 text         the reply, or null               $10 int4  completion tokens
-- $4 timestamptz  when it was finished             $11 text  code of the error
-- $5 text         complete, partial or failed      $12 int4  the attempt that ends
-- $6 text         provider                         $13 int4  tokens that it cost
-- $7 text         model
WITH found AS (
    -- Another try of this statement is waited for.
    SELECT incoming_id, user_id, created_at, charged, payers, paid_on, state = 'running' AND attempt = $12 AS is_running
    FROM chat_turns WHERE incoming_id = $1 FOR UPDATE
), erased AS (
    SELECT found.user_id, erased_at
    FROM found JOIN users ON users.id = found.user_id
        JOIN chat_erasures ON visitor = sha256(convert_to(phone_number, 'UTF8')) AND erased_at >= found.created_at
), gone AS (
    DELETE FROM messages USING erased WHERE messages.id = $1
), turn AS (
    SELECT * FROM found WHERE NOT EXISTS (SELECT FROM erased)
), outgoing AS (
    -- The clocks of two machines may differ; a reply never sorts before its question.
    INSERT INTO messages (id, user_id, direction, body, created_at)
    SELECT $2, user_id, 'outgoing', $3, greatest($4, created_at + interval '1 microsecond') FROM turn
    WHERE is_running AND $3 IS NOT NULL
    ON CONFLICT (id) DO NOTHING
), settled AS (
    -- In the order in which pay.sql takes them, so that two statements never wait for each other.
    INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
    SELECT paid_on, split_part(payer, ' ', 1), split_part(payer, ' ', 2), $13 - charged
    FROM found, unnest(payers) WITH ORDINALITY AS payers (payer, place)
    WHERE is_running ORDER BY place
    ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens
), closed AS (
    UPDATE chat_turns
    SET outgoing_id = CASE WHEN $3 IS NOT NULL THEN $2 END, finished_at = $4, state = $5, provider = $6, model = $7,
        finish_reason = $8, prompt_tokens = $9, completion_tokens = $10, error = $11, progress = NULL, progress_at = NULL,
        charged = $13, payers = NULL
    FROM turn WHERE chat_turns.incoming_id = turn.incoming_id AND is_running
)
SELECT is_running FROM turn
