-- Opens a turn in one round trip: finds or creates the visitor, keeps the name they gave, stores their message with all
-- its URLs, reserves what the reply may cost, and returns whether they are new, whether the budgets allow a reply, and
-- what was said before. Repeating it changes nothing. When another turn of the last 24 hours has the idempotency key,
-- nothing is stored and `is_opened` is false. No row when the visitor had everything erased after this message.
--
-- $1 uuid  id for a new user                        $10 text  idempotency key, or null
-- $2 text  phone_number: chat_{user_id}             $11 uuid  ticket, or null
-- $3 text  name given in this message               $12 bool  whether the visitor is proven
-- $4 uuid  id of the message, and the turn          $13 int4  tokens to reserve, or null without budgets
-- $5 int8  how many earlier messages to return      $14 int8  visitor's budget, or null
-- $6 text  body                                     $15 int8  address's budget, or null
-- $7 text[]  media URLs                             $16 int8  everybody's budget, or null
-- $8 text[]  audio URLs                             $17 text  the address's key, or null
-- $9 timestamptz  when it came                      $18 int8  how many characters of earlier messages to return
WITH erased AS (
    SELECT FROM chat_erasures WHERE visitor = sha256(convert_to($2, 'UTF8')) AND erased_at >= $9
), known AS (
    SELECT id FROM users WHERE phone_number = $2 AND NOT EXISTS (SELECT FROM erased)
), created AS (
    -- Two first messages at the same time: the later one waits here and takes the earlier one's row.
    INSERT INTO users (id, phone_number, name, created_at)
    SELECT $1, $2, $3, $9 WHERE NOT EXISTS (SELECT FROM known) AND NOT EXISTS (SELECT FROM erased)
    ON CONFLICT (phone_number) DO UPDATE SET name = coalesce(users.name, excluded.name)
    RETURNING id, xmax = 0 AS is_new
), renamed AS (
    -- Whoever only names a user does not rename one who has proved who they are.
    UPDATE users SET name = $3 FROM known
    WHERE users.id = known.id AND $3 IS NOT NULL AND users.name IS DISTINCT FROM $3
        AND ($12 OR NOT EXISTS (SELECT FROM chat_turns WHERE user_id = known.id AND is_proven))
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
), earlier_try AS (
    SELECT charged FROM chat_turns WHERE incoming_id = $4
), payer AS (
    SELECT id, ($9 AT TIME ZONE 'UTC')::date AS day FROM opened
    WHERE $13 IS NOT NULL AND NOT EXISTS (SELECT FROM earlier_try)
), paid_by_visitor AS (
    -- A budget is spent when nothing is left of it: the last turn may overdraw it. One that others reserve from at the
    -- same time is waited for. Who has no budget left takes nothing from the next one, so that nobody can spend
    -- everybody's.
    INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
    SELECT day, 'visitor', CASE WHEN $12 THEN id::text ELSE 'unproven ' || id END, $13 FROM payer WHERE $14 IS NOT NULL
    ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens WHERE budget.tokens < $14
    RETURNING key
), paid_by_ip AS (
    INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
    SELECT day, 'ip', $17, $13 FROM payer
    WHERE $15 IS NOT NULL AND $17 IS NOT NULL AND ($14 IS NULL OR EXISTS (SELECT FROM paid_by_visitor))
    ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens WHERE budget.tokens < $15
    RETURNING key
), paid_by_all AS (
    INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
    SELECT day, 'total', '', $13 FROM payer
    WHERE $16 IS NOT NULL AND ($14 IS NULL OR EXISTS (SELECT FROM paid_by_visitor))
        AND ($15 IS NULL OR $17 IS NULL OR EXISTS (SELECT FROM paid_by_ip))
    ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens WHERE budget.tokens < $16
    RETURNING key
), paid AS (
    SELECT ($14 IS NULL OR EXISTS (SELECT FROM paid_by_visitor))
        AND ($15 IS NULL OR $17 IS NULL OR EXISTS (SELECT FROM paid_by_ip))
        AND ($16 IS NULL OR EXISTS (SELECT FROM paid_by_all)) AS is_paid
    FROM payer
), incoming AS (
    INSERT INTO messages (id, user_id, direction, body, media_url, created_at)
    SELECT $4, id, 'incoming', $6, coalesce(($7)[1], ($8)[1]), $9 FROM opened
    ON CONFLICT (id) DO NOTHING
), turn AS (
    INSERT INTO chat_turns (incoming_id, user_id, state, is_proven, charged, ticket, created_at)
    SELECT $4, id, 'running', $12, CASE WHEN (SELECT is_paid FROM paid) THEN $13 ELSE 0 END, $11, $9 FROM opened
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
        SELECT messages.direction, messages.body, messages.created_at, messages.id,
            sum(length(messages.body)) OVER (ORDER BY messages.created_at DESC, messages.id DESC) AS chars
        FROM (
            SELECT incoming_id, outgoing_id FROM chat_turns
            WHERE user_id = visitor.id AND incoming_id <> $4 AND is_proven
            ORDER BY created_at DESC, incoming_id DESC LIMIT $5
        ) AS turns
        JOIN messages ON messages.id = turns.incoming_id OR messages.id = turns.outgoing_id
        WHERE messages.body <> ''
        ORDER BY messages.created_at DESC, messages.id DESC LIMIT $5
    ) AS earlier
    WHERE chars <= $18
) AS history, coalesce((SELECT is_paid FROM paid), (SELECT charged > 0 FROM earlier_try), true) OR $13 IS NULL AS is_paid
FROM visitor
