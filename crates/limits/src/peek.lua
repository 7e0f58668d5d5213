-- What is left; writes nothing. ARGV: now. Answers {"done", picture} | {"cold"}.
local now = clock(ARGV[1])
local m = read(now)
if not m.warm then return { 'cold' } end
return { 'done', picture(m, now) }
