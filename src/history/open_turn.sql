-- Opens a turn in one round trip: finds or creates the visitor, keeps the name they gave, stores their message with all
-- its URLs, reserves what the reply may cost (pay.sql), and returns whether they are new, which budget refuses a reply,
-- and what was said before. Repeating it changes nothing. When another turn of the last 24 hours has the idempotency key,
-- nothing is stored and `is_opened` is false. No row when the visitor had everything erased after this message.
--
-- $1 to $7  see pay.sql                              $14 text[]  audio URLs
-- $8 uuid  id for a new user                         $15 timestamptz  when it came
-- $9 text  phone_number: chat_{user_id}              $16 text  idempotency key, or null
-- $10 text  name given in this message               $17 uuid  ticket, or null
-- $11 uuid  id of the message, and the turn          $18 bool  whether the visitor is proven
-- $12 text  body                                     $19 int8  how many earlier messages to return
-- $13 text[]  media URLs                             $20 int8  how many characters of them
WITH erased AS (
    SELECT FROM chat_erasures WHERE visitor = sha256(convert_to($9, 'UTF8')) AND erased_at >= $15
), known AS (
    SELECT id FROM users WHERE phone_number = $9 AND NOT EXISTS (SELECT FROM erased)
), created AS (
    -- Two first messages at the same time: the later one waits here and takes the earlier one's row.
    INSERT INTO users (id, phone_number, name, created_at)
    SELECT $8, $9, $10, $15 WHERE NOT EXISTS (SELECT FROM known) AND NOT EXISTS (SELECT FROM erased)
    ON CONFLICT (phone_number) DO UPDATE SET name = coalesce(users.name, excluded.name)
    RETURNING id, xmax = 0 AS is_new
), renamed AS (
    -- Whoever only names a user does not rename one who has proved who they are.
    UPDATE users SET name = $10 FROM known
    WHERE users.id = known.id AND $10 IS NOT NULL AND users.name IS DISTINCT FROM $10
        AND ($18 OR NOT EXISTS (SELECT FROM chat_turns WHERE user_id = known.id AND is_proven))
), visitor AS (
    SELECT id, false AS is_new FROM known
    UNION ALL
    SELECT id, is_new FROM created
), claimed AS (
    -- Two requests with one key at the same time: the later one waits here and finds the key taken.
    INSERT INTO chat_idempotency_keys (user_id, key, turn_id, created_at)
    SELECT id, $16, $11, $15 FROM visitor WHERE $16 IS NOT NULL
    ON CONFLICT (user_id, key) DO UPDATE SET turn_id = excluded.turn_id, created_at = excluded.created_at
    WHERE chat_idempotency_keys.turn_id = excluded.turn_id
        OR chat_idempotency_keys.created_at <= excluded.created_at - interval '24 hours'
    RETURNING user_id
), opened AS (
    SELECT id FROM visitor WHERE $16 IS NULL OR EXISTS (SELECT FROM claimed)
), incoming AS (
    INSERT INTO messages (id, user_id, direction, body, media_url, created_at)
    SELECT $11, id, 'incoming', $12, coalesce(($13)[1], ($14)[1]), $15 FROM opened
    ON CONFLICT (id) DO NOTHING
    RETURNING user_id
), payer AS (
    -- A try of this statement that is still at work is waited for above; it has paid.
    SELECT user_id FROM incoming
), /* pay.sql */, turn AS (
    INSERT INTO chat_turns (incoming_id, user_id, state, is_proven, charged, payers, paid_on, refused_by, ticket, created_at)
    SELECT $11, user_id, 'running', $18, coalesce($2, 0), payers, $1, refused_by, $17, $15 FROM incoming, paid
    ON CONFLICT (incoming_id) DO NOTHING
), attachments AS (
    INSERT INTO chat_attachments (message_id, kind, position, url)
    SELECT $11, kind, position, url FROM incoming, (
        SELECT 'media' AS kind, url, position FROM unnest($13) WITH ORDINALITY AS media (url, position)
        UNION ALL
        SELECT 'audio', url, position FROM unnest($14) WITH ORDINALITY AS audio (url, position)
    ) AS files
    ON CONFLICT (message_id, kind, position) DO NOTHING
), now_open AS (
    SELECT refused_by FROM paid
    UNION ALL
    -- An earlier try. One that was at work a moment ago is seen by the next.
    SELECT refused_by FROM chat_turns WHERE incoming_id = $11
)
SELECT EXISTS (SELECT FROM opened) AS is_opened, visitor.is_new, (
    SELECT json_agg(json_build_object('direction', direction, 'body', body) ORDER BY created_at, id)::text
    FROM (
        SELECT messages.direction, messages.body, messages.created_at, messages.id,
            sum(length(messages.body)) OVER (ORDER BY messages.created_at DESC, messages.id DESC) AS chars
        FROM (
            SELECT incoming_id, outgoing_id FROM chat_turns
            WHERE user_id = visitor.id AND incoming_id <> $11 AND is_proven
            ORDER BY created_at DESC, incoming_id DESC LIMIT $19
        ) AS turns
        JOIN messages ON messages.id = turns.incoming_id OR messages.id = turns.outgoing_id
        WHERE messages.body <> ''
        ORDER BY messages.created_at DESC, messages.id DESC LIMIT $19
    ) AS earlier
    WHERE chars <= $20
) AS history, EXISTS (SELECT FROM now_open) AS is_decided, (SELECT refused_by FROM now_open LIMIT 1) AS refused_by
FROM visitor
