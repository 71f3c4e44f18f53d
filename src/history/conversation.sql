-- A page of a visitor's messages, oldest first, as the JSON that GET /chat/history answers with.
-- $1 text phone_number, $2 int8 how many turns, $3 uuid the turn before which they are, or null
WITH visitor AS (
    SELECT id FROM users WHERE phone_number = $1
), found AS (
    SELECT incoming_id, outgoing_id, state, turn.created_at
    FROM chat_turns AS turn JOIN visitor ON turn.user_id = visitor.id
    WHERE is_proven AND ($3 IS NULL OR (turn.created_at, turn.incoming_id) < (
        SELECT start.created_at, start.incoming_id FROM chat_turns AS start
        WHERE start.incoming_id = $3 AND start.user_id = visitor.id
    ))
    ORDER BY turn.created_at DESC, turn.incoming_id DESC LIMIT $2 + 1
), page AS (
    SELECT * FROM found ORDER BY created_at DESC, incoming_id DESC LIMIT $2
)
SELECT json_build_object(
    'messages', (
        SELECT coalesce(json_agg(json_build_object(
            'id', messages.id,
            'direction', messages.direction,
            'content', coalesce(messages.body, ''),
            'media_urls', (SELECT coalesce(json_agg(url ORDER BY position), '[]') FROM chat_attachments
                WHERE message_id = messages.id AND kind = 'media'),
            'audio_urls', (SELECT coalesce(json_agg(url ORDER BY position), '[]') FROM chat_attachments
                WHERE message_id = messages.id AND kind = 'audio'),
            'timestamp', to_char(messages.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
            'state', page.state
        ) ORDER BY page.created_at, page.incoming_id, messages.created_at, messages.id), '[]')
        FROM page JOIN messages ON messages.id IN (page.incoming_id, page.outgoing_id)
    ),
    'next', CASE WHEN (SELECT count(*) FROM found) > $2
        THEN (SELECT incoming_id FROM page ORDER BY created_at, incoming_id LIMIT 1) END
)::text AS page
