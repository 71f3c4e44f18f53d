-- Opens a turn in one round trip: finds or creates the visitor, keeps the name they gave, stores their message with all
-- its URLs, and returns whether they are new and what was said before. Repeating it changes nothing. When another turn
-- of the last 24 hours has the idempotency key, nothing is stored and `is_opened` is false.
--
-- $1 uuid  id for a new user                        $6 text         body
-- $2 text  phone_number: chat_{user_id}             $7 text[]       media URLs
-- $3 text  name given in this message               $8 text[]       audio URLs
-- $4 uuid  id of the message, and the turn          $9 timestamptz  when it came
-- $5 int8  how many earlier messages to return      $10 text        idempotency key, or null
--                                                   $11 uuid        ticket, or null
WITH known AS (
    SELECT id FROM users WHERE phone_number = $2
), created AS (
    -- Two first messages at the same time: the later one waits here and takes the earlier one's row.
    INSERT INTO users (id, phone_number, name, created_at)
    SELECT $1, $2, $3, $9 WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (phone_number) DO UPDATE SET name = coalesce(excluded.name, users.name)
    RETURNING id, xmax = 0 AS is_new
), renamed AS (
    UPDATE users SET name = $3 FROM known
    WHERE users.id = known.id AND $3 IS NOT NULL AND users.name IS DISTINCT FROM $3
), visitor AS (
    SELECT id, false AS is_new FROM known
    UNION ALL
    SELECT id, is_new FROM created
), claimed AS (
    -- Two requests with one key at the same time: the later one waits here and finds the key taken.
    INSERT INTO chat_idempotency_keys (user_id, key, turn_id, created_at)
    SELECT id, $10, $4, $9 FROM visitor WHERE $10 IS NOT NULL
    ON CONFLICT (user_id, key) DO UPDATE SET turn_id = excluded.turn_id, created_at = excluded.created_at
    WHERE chat_idempotency_keys.turn_id = excluded.turn_id
        OR chat_idempotency_keys.created_at <= excluded.created_at - interval '24 hours'
    RETURNING user_id
), opened AS (
    SELECT id FROM visitor WHERE $10 IS NULL OR EXISTS (SELECT FROM claimed)
), incoming AS (
    INSERT INTO messages (id, user_id, direction, body, media_url, created_at)
    SELECT $4, id, 'incoming', $6, coalesce(($7)[1], ($8)[1]), $9 FROM opened
    ON CONFLICT (id) DO NOTHING
), turn AS (
    INSERT INTO chat_turns (incoming_id, user_id, state, ticket, created_at)
    SELECT $4, id, 'running', $11, $9 FROM opened
    ON CONFLICT (incoming_id) DO NOTHING
), attachments AS (
    INSERT INTO chat_attachments (message_id, kind, position, url)
    SELECT $4, kind, position, url FROM opened, (
        SELECT 'media' AS kind, url, position FROM unnest($7) WITH ORDINALITY AS media (url, position)
        UNION ALL
        SELECT 'audio', url, position FROM unnest($8) WITH ORDINALITY AS audio (url, position)
    ) AS files
    ON CONFLICT (message_id, kind, position) DO NOTHING
)
SELECT EXISTS (SELECT FROM opened) AS is_opened, visitor.is_new, (
    SELECT json_agg(json_build_object('direction', direction, 'body', body) ORDER BY created_at, id)::text
    FROM (
        SELECT messages.direction, messages.body, messages.created_at, messages.id
        FROM (
            SELECT incoming_id, outgoing_id FROM chat_turns
            WHERE user_id = visitor.id AND incoming_id <> $4
            ORDER BY created_at DESC, incoming_id DESC LIMIT $5
        ) AS turns
        JOIN messages ON messages.id = turns.incoming_id OR messages.id = turns.outgoing_id
        WHERE messages.body <> ''
        ORDER BY messages.created_at DESC, messages.id DESC LIMIT $5
    ) AS earlier
) AS history
FROM visitor
