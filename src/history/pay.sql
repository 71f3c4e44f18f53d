-- Part of a statement that goes on with what the CTE `payer` has: a row for a turn that is to be paid for, or none.
-- Reserves what its reply may need from each budget. One is spent when nothing is left of it: the last turn may overdraw
-- it. One that others reserve from at the same time is waited for. Where one refuses, those before it have paid, and are
-- given it back when the turn is closed; those behind it pay nothing, so that nobody can spend everybody's.
--
-- $1 date  the day                       $5 int8  address's budget, or null
-- $2 int4  tokens, null without budgets  $6 text  the address's key, or null
-- $3 int8  visitor's budget, or null     $7 int8  everybody's budget, or null
-- $4 text  the visitor's key
paid_by_visitor AS (
    INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
    SELECT $1, 'visitor', $4, $2 FROM payer WHERE $2 IS NOT NULL AND $3 IS NOT NULL
    ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens WHERE budget.tokens < $3
    RETURNING scope, key
), paid_by_ip AS (
    INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
    SELECT $1, 'ip', $6, $2 FROM payer
    WHERE $2 IS NOT NULL AND $5 IS NOT NULL AND $6 IS NOT NULL AND ($3 IS NULL OR EXISTS (SELECT FROM paid_by_visitor))
    ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens WHERE budget.tokens < $5
    RETURNING scope, key
), paid_by_all AS (
    INSERT INTO chat_budgets AS budget (day, scope, key, tokens)
    SELECT $1, 'total', '', $2 FROM payer
    WHERE $2 IS NOT NULL AND $7 IS NOT NULL AND ($3 IS NULL OR EXISTS (SELECT FROM paid_by_visitor))
        AND ($5 IS NULL OR $6 IS NULL OR EXISTS (SELECT FROM paid_by_ip))
    ON CONFLICT (day, scope, key) DO UPDATE SET tokens = budget.tokens + excluded.tokens WHERE budget.tokens < $7
    RETURNING scope, key
), paid AS (
    SELECT ARRAY(
        SELECT scope || ' ' || key FROM (
            SELECT scope, key FROM paid_by_visitor
            UNION ALL SELECT scope, key FROM paid_by_ip
            UNION ALL SELECT scope, key FROM paid_by_all
        ) AS payers
    ) AS payers, CASE
        WHEN $2 IS NULL THEN NULL
        WHEN $3 IS NOT NULL AND NOT EXISTS (SELECT FROM paid_by_visitor) THEN 'visitor'
        WHEN $5 IS NOT NULL AND $6 IS NOT NULL AND NOT EXISTS (SELECT FROM paid_by_ip) THEN 'ip'
        WHEN $7 IS NOT NULL AND NOT EXISTS (SELECT FROM paid_by_all) THEN 'total'
    END AS refused_by
    FROM payer
)
