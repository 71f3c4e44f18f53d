-- The tables of the chat integration guide, which the WhatsApp agent may already have made and filled.

-- migrate:up
CREATE TABLE IF NOT EXISTS users (
    id UUID PRIMARY KEY,
    phone_number VARCHAR(20) UNIQUE NOT NULL,
    name VARCHAR(255),
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE TABLE IF NOT EXISTS messages (
    id UUID PRIMARY KEY,
    user_id UUID REFERENCES users(id),
    direction VARCHAR(20) NOT NULL CHECK (direction IN ('incoming', 'outgoing')),
    body TEXT,
    media_url TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

-- `chat_` and a UUID are 41 characters. Widening a VARCHAR changes the catalogue alone; no row is rewritten.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'users'::regclass AND attname = 'phone_number'
            AND atttypid = 'varchar'::regtype AND atttypmod BETWEEN 4 AND 4 + 254
    ) THEN
        ALTER TABLE users ALTER COLUMN phone_number TYPE VARCHAR(255);
    END IF;
END
$$;

-- migrate:down
-- Nothing: the tables belong to the WhatsApp agent as well, and longer numbers may be stored by now.
