-- Closes a turn in one round trip. The function is in the database, which keeps its plans; see schema.sql.
SELECT is_closed FROM chat_close_turn($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
