-- What is left; writes nothing. Answers "n" meters | "c" where they are cold.
return warm and pack('<c1d', 'n', now) .. meters() or 'c'
