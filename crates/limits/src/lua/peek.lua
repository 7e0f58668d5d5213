-- Returns the meters. Writes nothing, except a ticket if they are cold. Replies "n" now, meters | "c" ticket if they are cold.
return warm and pack('<c1d', 'n', now) .. meters() or cold()
