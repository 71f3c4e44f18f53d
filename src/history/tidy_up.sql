-- Deletes what has had its time: idempotency keys, the budgets of past days, and the marks of what was erased, once
-- nothing from before can still be in a queue. And what an erasure has missed, being on its way at the same moment.
-- $1 timestamptz now
WITH keys AS (
    DELETE FROM chat_idempotency_keys WHERE created_at < $1 - interval '24 hours'
), budgets AS (
    DELETE FROM chat_budgets WHERE day < ($1 AT TIME ZONE 'UTC')::date - 1
), missed AS (
    DELETE FROM messages USING users, chat_erasures
    WHERE messages.user_id = users.id AND chat_erasures.visitor = sha256(convert_to(users.phone_number, 'UTF8'))
        AND starts_with(users.phone_number, 'chat_') AND messages.created_at <= erased_at
), erasures AS (
    DELETE FROM chat_erasures WHERE erased_at < $1 - interval '30 days'
)
SELECT true
