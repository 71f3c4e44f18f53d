-- Deletes some of the chat's messages that are older than the retention allows, and visitors of whom nothing is left.
-- The other users of the database have phone numbers; they and what they wrote stay. Returns how many of each.
-- $1 timestamptz the oldest to keep, $2 int8 how many at most
WITH old AS (
    -- User by user, which the index of messages has; nothing has all messages by their age.
    SELECT messages.id
    FROM users, LATERAL (
        SELECT id FROM messages WHERE messages.user_id = users.id AND messages.created_at < $1 LIMIT $2
    ) AS messages
    WHERE starts_with(users.phone_number, 'chat_') AND users.created_at < $1
    LIMIT $2
), forgotten AS (
    DELETE FROM messages USING old WHERE messages.id = old.id RETURNING messages.id
), silent AS (
    SELECT id FROM users
    WHERE starts_with(phone_number, 'chat_') AND created_at < $1
        AND NOT EXISTS (SELECT FROM messages WHERE messages.user_id = users.id)
    LIMIT $2
), gone AS (
    DELETE FROM users USING silent WHERE users.id = silent.id RETURNING users.id
)
SELECT (SELECT count(*) FROM forgotten) AS messages, (SELECT count(*) FROM gone) AS users
