-- Returns the meters. Writes nothing, except `rebuild_epoch` if they are cold. Replies "n" now, meters | "c" rebuild_epoch if they are
-- cold.
return is_warm and pack('<c1d', 'n', now) .. meters() or cold()
