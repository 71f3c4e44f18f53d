-- Deletes what has had its time: idempotency keys, the budgets of past days, and the marks of what was erased, once
-- nothing from before can still be in a queue.
-- $1 timestamptz now
WITH keys AS (
    DELETE FROM chat_idempotency_keys WHERE created_at < $1 - interval '24 hours'
), budgets AS (
    DELETE FROM chat_budgets WHERE day < ($1 AT TIME ZONE 'UTC')::date - 1
), erasures AS (
    DELETE FROM chat_erasures WHERE erased_at < $1 - interval '30 days'
)
SELECT true
