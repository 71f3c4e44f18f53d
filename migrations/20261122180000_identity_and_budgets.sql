-- Who wrote a message, as far as it is proved; what models may cost; what was erased.

-- migrate:up

-- Whether the visitor proved who they are: only such turns are ever shown or put before a model. Until now only
-- visitors with a session did.
ALTER TABLE chat_turns ADD COLUMN is_proven BOOLEAN NOT NULL DEFAULT false;
UPDATE chat_turns SET is_proven = true
FROM users WHERE users.id = user_id AND starts_with(phone_number, 'chat_visitor_');
-- Whether the visitor wants no more of a running reply.
ALTER TABLE chat_turns ADD COLUMN is_stopped BOOLEAN NOT NULL DEFAULT false;
-- Tokens that the budgets were charged for it: a reservation while it runs.
ALTER TABLE chat_turns ADD COLUMN charged INTEGER NOT NULL DEFAULT 0;
-- While it runs, the budgets that paid ('scope key'), on which day, and the one that refused a reply.
ALTER TABLE chat_turns ADD COLUMN payers TEXT[];
ALTER TABLE chat_turns ADD COLUMN paid_on DATE;
ALTER TABLE chat_turns ADD COLUMN refused_by TEXT;
-- When the ticket was given, if not with the turn.
ALTER TABLE chat_turns ADD COLUMN ticket_at TIMESTAMP WITH TIME ZONE;

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

-- migrate:down
DROP TABLE chat_erasures;
DROP TABLE chat_budgets;
ALTER TABLE chat_turns DROP COLUMN ticket_at;
ALTER TABLE chat_turns DROP COLUMN refused_by;
ALTER TABLE chat_turns DROP COLUMN paid_on;
ALTER TABLE chat_turns DROP COLUMN payers;
ALTER TABLE chat_turns DROP COLUMN charged;
ALTER TABLE chat_turns DROP COLUMN is_stopped;
ALTER TABLE chat_turns DROP COLUMN is_proven;
