-- Erases a visitor: their messages, and with them turns, attachments and idempotency keys, and their row; what is
-- reserved for a running reply is given back. What comes later and was written before is not stored either. Returns how
-- many messages there were.
-- $1 text phone_number, $2 timestamptz now
WITH visitor AS (
    -- The other users of the database have phone numbers.
    SELECT id FROM users WHERE phone_number = $1 AND starts_with(phone_number, 'chat_')
), marked AS (
    INSERT INTO chat_erasures (visitor, erased_at) VALUES (sha256(convert_to($1, 'UTF8')), $2)
    ON CONFLICT (visitor) DO UPDATE SET erased_at = greatest(chat_erasures.erased_at, excluded.erased_at)
), turns AS (
    -- Whoever closes one of them now is waited for.
    SELECT incoming_id, charged, payers, paid_on FROM chat_turns JOIN visitor ON user_id = visitor.id
    ORDER BY incoming_id FOR UPDATE OF chat_turns
), given_back AS (
    UPDATE chat_budgets SET tokens = tokens - reserved.charged
    FROM (
        SELECT paid_on, payer, sum(charged) AS charged FROM turns, unnest(payers) AS payer GROUP BY paid_on, payer
    ) AS reserved
    WHERE day = paid_on AND scope || ' ' || key = payer
), said AS (
    DELETE FROM messages USING visitor WHERE messages.user_id = visitor.id RETURNING messages.id
), gone AS (
    DELETE FROM users USING visitor WHERE users.id = visitor.id
)
SELECT count(*) AS messages, (SELECT count(*) FROM turns) AS turns FROM said
