-- What is left; writes nothing but a ticket where the meters are cold. Answers "n" meters | "c" ticket where they are cold.
return warm and pack('<c1d', 'n', now) .. meters() or cold()
