-- Opening and closing a turn as functions: behind a pooler that pools by transaction every statement is planned anew, and
-- for these two that cost as much as their work. Of a function, PostgreSQL keeps the plans for as long as a session lasts.
-- Each of its statements sees what others have committed until then, so what was waited for is seen.

-- migrate:up

-- A key is claimed before its turn is there.
ALTER TABLE chat_idempotency_keys ALTER CONSTRAINT chat_idempotency_keys_turn_id_fkey DEFERRABLE INITIALLY DEFERRED;

-- Reserves what a reply may need from each budget. One is spent when nothing is left of it: the last turn may overdraw it.
-- One that others reserve from at the same time is waited for, always in the same order. Where one refuses, those before
-- it have paid, and are given it back when the turn is closed; those behind it pay nothing, so that nobody can spend
-- everybody's.
CREATE FUNCTION chat_pay(
    p_day DATE,
    -- Null without budgets.
    p_tokens INTEGER,
    -- A budget that is null is not kept.
    p_visitor_budget BIGINT,
    p_visitor_key TEXT,
    p_ip_budget BIGINT,
    p_ip_key TEXT,
    p_total_budget BIGINT,
    OUT payers TEXT[],
    OUT refused_by TEXT
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_scopes CONSTANT TEXT[] := ARRAY['visitor', 'ip', 'total'];
    v_keys CONSTANT TEXT[] := ARRAY[p_visitor_key, p_ip_key, ''];
    v_budgets CONSTANT BIGINT[] := ARRAY[p_visitor_budget, p_ip_budget, p_total_budget];
BEGIN
    payers := '{}';
    IF p_tokens IS NULL THEN
        RETURN;
    END IF;
    FOR i IN 1..3 LOOP
        CONTINUE WHEN v_budgets[i] IS NULL OR v_keys[i] IS NULL;
        INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
        VALUES (p_day, v_scopes[i], v_keys[i], p_tokens)
        ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens
        WHERE budget.tokens < v_budgets[i];
        IF NOT FOUND THEN
            refused_by := v_scopes[i];
            RETURN;
        END IF;
        payers := payers || (v_scopes[i] || ' ' || v_keys[i]);
    END LOOP;
END
$$;

-- Opens a turn: finds or creates the visitor, keeps the name they gave, stores their message with all its URLs, reserves
-- what the reply may cost, and returns whether they are new, which budget refuses a reply, and what was said before.
-- Repeating it changes nothing and gives the same answer. When another turn of the last 24 hours has the idempotency key,
-- nothing of the message is stored and is_opened is false. No row when the visitor had everything erased after this
-- message.
CREATE FUNCTION chat_open_turn(
    -- As chat_pay has them.
    p_day DATE,
    p_tokens INTEGER,
    p_visitor_budget BIGINT,
    p_visitor_key TEXT,
    p_ip_budget BIGINT,
    p_ip_key TEXT,
    p_total_budget BIGINT,
    -- Id for a new user.
    p_new_user_id UUID,
    -- chat_{user_id}
    p_phone_number TEXT,
    -- Given in this message, or null.
    p_name TEXT,
    -- Of the message, and the turn.
    p_id UUID,
    p_body TEXT,
    p_media_urls TEXT[],
    p_audio_urls TEXT[],
    -- When it came.
    p_received TIMESTAMP WITH TIME ZONE,
    -- Null without one.
    p_idempotency_key TEXT,
    p_ticket UUID,
    -- Whether the visitor is.
    p_is_proven BOOLEAN,
    -- How many earlier messages to return, and how many characters of them.
    p_messages BIGINT,
    p_chars BIGINT,
    OUT is_opened BOOLEAN,
    OUT is_new BOOLEAN,
    OUT history TEXT,
    OUT refused_by TEXT
) RETURNS SETOF RECORD ROWS 1 LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_user_id UUID;
    v_is_erased BOOLEAN;
    v_payers TEXT[];
BEGIN
    LOOP
        -- Both at one moment: an erasure that comes later takes the user away, and the message is refused below.
        SELECT (SELECT users.id FROM users WHERE phone_number = p_phone_number), EXISTS (
            SELECT FROM chat_erasures WHERE visitor = sha256(convert_to(p_phone_number, 'UTF8')) AND erased_at >= p_received
        ) INTO v_user_id, v_is_erased;
        IF v_is_erased THEN
            RETURN;
        END IF;
        EXIT WHEN v_user_id IS NOT NULL;
        -- Two first messages at the same time: the later one waits here and takes the earlier one's row.
        INSERT INTO users (id, phone_number, name, created_at) VALUES (p_new_user_id, p_phone_number, p_name, p_received)
        ON CONFLICT (phone_number) DO NOTHING RETURNING users.id INTO v_user_id;
        EXIT WHEN v_user_id IS NOT NULL;
    END LOOP;
    is_new := v_user_id = p_new_user_id;

    IF p_idempotency_key IS NOT NULL THEN
        -- Two requests with one key at the same time: the later one waits here and finds the key taken.
        INSERT INTO chat_idempotency_keys AS taken (user_id, key, turn_id, created_at)
        VALUES (v_user_id, p_idempotency_key, p_id, p_received)
        ON CONFLICT (user_id, key) DO UPDATE SET turn_id = excluded.turn_id, created_at = excluded.created_at
        WHERE taken.turn_id = excluded.turn_id OR taken.created_at <= excluded.created_at - interval '24 hours';
        IF NOT FOUND THEN
            is_opened := false;
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    is_opened := true;

    -- Another try of this turn that is still at work is waited for here, if not above.
    INSERT INTO messages (id, user_id, direction, body, media_url, created_at)
    VALUES (p_id, v_user_id, 'incoming', p_body, coalesce(p_media_urls[1], p_audio_urls[1]), p_received)
    ON CONFLICT (id) DO NOTHING;
    IF FOUND THEN
        IF p_name IS NOT NULL THEN
            -- Whoever only names a user does not rename one who has proved who they are.
            UPDATE users SET name = p_name
            WHERE users.id = v_user_id AND name IS DISTINCT FROM p_name
                AND (p_is_proven OR NOT EXISTS (SELECT FROM chat_turns WHERE user_id = v_user_id AND is_proven));
        END IF;

        -- After all else that may have to be waited for, as many turns pay from the same budgets.
        SELECT paid.payers, paid.refused_by INTO v_payers, refused_by
        FROM chat_pay(
            p_day, p_tokens, p_visitor_budget, p_visitor_key, p_ip_budget, p_ip_key, p_total_budget
        ) AS paid;

        INSERT INTO chat_turns (
            incoming_id, user_id, state, is_proven, charged, payers, paid_on, refused_by, ticket, created_at
        ) VALUES (
            p_id, v_user_id, 'running', p_is_proven, coalesce(p_tokens, 0), v_payers, p_day, refused_by, p_ticket, p_received
        );

        IF p_media_urls <> '{}' OR p_audio_urls <> '{}' THEN
            INSERT INTO chat_attachments (message_id, kind, position, url)
            SELECT p_id, 'media', place, file FROM unnest(p_media_urls) WITH ORDINALITY AS media (file, place)
            UNION ALL
            SELECT p_id, 'audio', place, file FROM unnest(p_audio_urls) WITH ORDINALITY AS audio (file, place);
        END IF;
    ELSE
        SELECT chat_turns.refused_by INTO refused_by FROM chat_turns WHERE incoming_id = p_id;
        IF NOT FOUND THEN
            -- It has been erased since.
            RETURN;
        END IF;
    END IF;

    SELECT json_agg(json_build_object('direction', direction, 'body', body) ORDER BY created_at, id)::text INTO history
    FROM (
        SELECT messages.direction, messages.body, messages.created_at, messages.id,
            sum(length(messages.body)) OVER (ORDER BY messages.created_at DESC, messages.id DESC) AS chars
        FROM (
            SELECT incoming_id, outgoing_id FROM chat_turns
            WHERE user_id = v_user_id AND incoming_id <> p_id AND is_proven
            ORDER BY chat_turns.created_at DESC, incoming_id DESC LIMIT p_messages
        ) AS turns
        JOIN messages ON messages.id IN (turns.incoming_id, turns.outgoing_id)
        WHERE messages.body <> ''
        ORDER BY messages.created_at DESC, messages.id DESC LIMIT p_messages
    ) AS earlier
    WHERE chars <= p_chars;
    RETURN NEXT;
END
$$;

-- Closes a turn: stores the reply, if there is one, what became of the turn, and settles what it cost. Repeating it
-- changes nothing. No row when the turn was never opened; false when it is over already. When the visitor had everything
-- erased while their message was on its way, that goes as well, and there is no row either.
CREATE FUNCTION chat_close_turn(
    p_id UUID,
    p_reply_id UUID,
    -- Null without one.
    p_reply TEXT,
    p_finished TIMESTAMP WITH TIME ZONE,
    -- complete, partial or failed
    p_state TEXT,
    p_provider TEXT,
    p_model TEXT,
    -- Why the model stopped.
    p_finish_reason TEXT,
    p_prompt_tokens INTEGER,
    p_completion_tokens INTEGER,
    -- Its code.
    p_error TEXT,
    -- The one that ends.
    p_attempt INTEGER,
    -- Tokens.
    p_cost INTEGER,
    OUT is_closed BOOLEAN
) RETURNS SETOF BOOLEAN ROWS 1 LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_user_id UUID;
    v_received TIMESTAMP WITH TIME ZONE;
    v_charged INTEGER;
    v_payers TEXT[];
    v_paid_on DATE;
BEGIN
    -- Another try, or whoever erases the turn, is waited for.
    SELECT user_id, created_at, charged, payers, paid_on, state = 'running' AND attempt = p_attempt
    INTO v_user_id, v_received, v_charged, v_payers, v_paid_on, is_closed
    FROM chat_turns WHERE incoming_id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    IF is_closed AND v_payers <> '{}' THEN
        -- In the order in which chat_pay takes them, so that two turns never wait for each other.
        INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
        SELECT v_paid_on, split_part(payer, ' ', 1), split_part(payer, ' ', 2), p_cost - v_charged
        FROM unnest(v_payers) WITH ORDINALITY AS payers (payer, place) ORDER BY place
        ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens;
    END IF;

    IF EXISTS (
        SELECT FROM users JOIN chat_erasures ON visitor = sha256(convert_to(phone_number, 'UTF8'))
        WHERE users.id = v_user_id AND erased_at >= v_received
    ) THEN
        DELETE FROM messages WHERE id = p_id;
        RETURN;
    END IF;

    IF is_closed THEN
        IF p_reply IS NOT NULL THEN
            -- The clocks of two machines may differ; a reply never sorts before its question.
            INSERT INTO messages (id, user_id, direction, body, created_at)
            VALUES (p_reply_id, v_user_id, 'outgoing', p_reply, greatest(p_finished, v_received + interval '1 microsecond'))
            ON CONFLICT (id) DO NOTHING;
        END IF;
        UPDATE chat_turns
        SET outgoing_id = CASE WHEN p_reply IS NOT NULL THEN p_reply_id END, finished_at = p_finished, state = p_state,
            provider = p_provider, model = p_model, finish_reason = p_finish_reason, prompt_tokens = p_prompt_tokens,
            completion_tokens = p_completion_tokens, error = p_error, progress = NULL, progress_at = NULL,
            charged = p_cost, payers = NULL
        WHERE incoming_id = p_id;
    END IF;
    RETURN NEXT;
END
$$;

-- migrate:down
DROP FUNCTION chat_close_turn;
DROP FUNCTION chat_open_turn;
DROP FUNCTION chat_pay;
ALTER TABLE chat_idempotency_keys ALTER CONSTRAINT chat_idempotency_keys_turn_id_fkey NOT DEFERRABLE;
