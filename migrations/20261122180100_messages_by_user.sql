-- A user's messages are found, exported and deleted without reading everybody's. Built while others go on writing.

-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY IF NOT EXISTS messages_user_id_created_at_idx ON messages (user_id, created_at);

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY IF EXISTS messages_user_id_created_at_idx;
