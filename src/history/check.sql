-- Refused by a database that lacks a table or a function.
SELECT EXISTS (SELECT FROM chat_turns)
    AND 'chat_pay(date, integer, bigint, text, bigint, text, bigint)'::regprocedure IS NOT NULL
    AND 'chat_open_turn(date, integer, bigint, text, bigint, text, bigint, uuid, text, text, uuid, text, text[], text[],
        timestamptz, text, uuid, boolean, bigint, bigint)'::regprocedure IS NOT NULL
    AND 'chat_close_turn(uuid, uuid, text, timestamptz, text, text, text, text, integer, integer, text, integer, integer)'
        ::regprocedure IS NOT NULL
