-- Erases a visitor: their messages, and with them turns, attachments and idempotency keys, their budget, and their row.
-- What comes later and was written before is not stored either. Returns how many messages there were.
-- $1 text phone_number, $2 timestamptz now
WITH visitor AS (
    -- The other users of the database have phone numbers.
    SELECT id FROM users WHERE phone_number = $1 AND starts_with(phone_number, 'chat_')
), marked AS (
    INSERT INTO chat_erasures (visitor, erased_at) VALUES (sha256(convert_to($1, 'UTF8')), $2)
    ON CONFLICT (visitor) DO UPDATE SET erased_at = greatest(chat_erasures.erased_at, excluded.erased_at)
), budget AS (
    DELETE FROM chat_budgets USING visitor WHERE scope = 'visitor' AND key IN (visitor.id::text, 'unproven ' || visitor.id)
), said AS (
    DELETE FROM messages USING visitor WHERE messages.user_id = visitor.id RETURNING messages.id
), gone AS (
    DELETE FROM users USING visitor WHERE users.id = visitor.id
)
SELECT count(*) AS messages FROM said
