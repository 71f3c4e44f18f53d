-- The database as migrations/ leave it. For reading: the migrations are what is applied, and a test holds this file
-- against their result.

-- Shared with the WhatsApp agent. Visitors of the website have phone_number 'chat_{user_id}'.
CREATE TABLE users (
    id UUID PRIMARY KEY,
    phone_number VARCHAR(255) UNIQUE NOT NULL,
    name VARCHAR(255),
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

-- Shared with the WhatsApp agent. Ids that this service makes are UUIDv7, so (created_at, id) is a strict order.
CREATE TABLE messages (
    id UUID PRIMARY KEY,
    user_id UUID REFERENCES users (id),
    direction VARCHAR(20) NOT NULL CHECK (direction IN ('incoming', 'outgoing')),
    body TEXT,
    media_url TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX messages_user_id_created_at_idx ON messages (user_id, created_at);

-- One row for each message that a visitor sent through the website.
CREATE TABLE chat_turns (
    -- The turn's id: the visitor's message.
    incoming_id UUID PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    -- The reply, once there is one.
    outgoing_id UUID UNIQUE REFERENCES messages (id) ON DELETE SET NULL,
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'partial', 'failed')),
    -- How often it was begun: a repeated request takes over a turn without a reply, and what is left of the earlier
    -- attempt does not end it.
    attempt INTEGER NOT NULL DEFAULT 1,
    -- Who wrote the reply: `openai`, `workers-ai` or `scripted`, and the model it used.
    provider TEXT,
    model TEXT,
    -- Why the model stopped, in its own words: `stop`, `length`, ...
    finish_reason TEXT,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    -- Code of the error that ended a partial or failed turn.
    error TEXT,
    -- What there is of a running reply, saved while nobody is there to see it, and when that was.
    progress TEXT,
    progress_at TIMESTAMP WITH TIME ZONE,
    -- Opens the reply once to a page that has no session at hand.
    ticket UUID UNIQUE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    -- Whether the visitor proved who they are: only such turns are ever shown or put before a model.
    is_proven BOOLEAN NOT NULL DEFAULT false,
    -- Whether the visitor wants no more of a running reply.
    is_stopped BOOLEAN NOT NULL DEFAULT false,
    -- Tokens that the budgets were charged for it: a reservation while it runs.
    charged INTEGER NOT NULL DEFAULT 0,
    -- While it runs, the budgets that paid ('scope key'), on which day, and the one that refused a reply.
    payers TEXT[],
    paid_on DATE,
    refused_by TEXT,
    -- When the ticket was given, if not with the turn.
    ticket_at TIMESTAMP WITH TIME ZONE
);

-- A visitor's newest turns.
CREATE INDEX chat_turns_user_id_created_at_idx ON chat_turns (user_id, created_at, incoming_id);

-- The Idempotency-Key of a request, kept for 24 hours: its repetition belongs to the same turn.
CREATE TABLE chat_idempotency_keys (
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    turn_id UUID NOT NULL REFERENCES chat_turns (incoming_id) ON DELETE CASCADE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (user_id, key)
);

CREATE INDEX chat_idempotency_keys_turn_id_idx ON chat_idempotency_keys (turn_id);

-- Every URL of a message; messages.media_url holds the first one.
CREATE TABLE chat_attachments (
    message_id UUID NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('media', 'audio')),
    -- Place in its list, from 1.
    position INTEGER NOT NULL,
    url TEXT NOT NULL,
    PRIMARY KEY (message_id, kind, position)
);

-- Tokens that were spent or are reserved, by day (UTC).
CREATE TABLE chat_budgets (
    day DATE NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('visitor', 'ip', 'total')),
    -- A pseudonym of the visitor or the address, another one each day; or nothing.
    key TEXT NOT NULL,
    tokens BIGINT NOT NULL,
    PRIMARY KEY (day, scope, key)
);

-- Visitors who had everything erased: what is still on its way to the database is not stored any more.
CREATE TABLE chat_erasures (
    -- SHA-256 of users.phone_number.
    visitor BYTEA PRIMARY KEY,
    erased_at TIMESTAMP WITH TIME ZONE NOT NULL
);
