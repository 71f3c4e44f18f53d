-- Opens a turn in one round trip. The function is in the database, which keeps its plans; see schema.sql.
SELECT is_opened, is_new, history, refused_by
FROM chat_open_turn($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
