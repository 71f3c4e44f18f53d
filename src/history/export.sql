-- Everything that is stored of a visitor, as the JSON that GET /chat/me answers with.
-- $1 text phone_number
WITH visitor AS (
    SELECT * FROM users WHERE phone_number = $1
)
SELECT json_build_object(
    'visitor', (SELECT json_build_object(
        'id', phone_number,
        'name', name,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
    ) FROM visitor),
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
            'state', coalesce(asked.state, answered.state),
            'is_proven', coalesce(asked.is_proven, answered.is_proven),
            'provider', answered.provider,
            'model', answered.model
        ) ORDER BY messages.created_at, messages.id), '[]')
        FROM visitor
        JOIN messages ON messages.user_id = visitor.id
        LEFT JOIN chat_turns AS asked ON asked.incoming_id = messages.id
        LEFT JOIN chat_turns AS answered ON answered.outgoing_id = messages.id
    )
)::text AS export
