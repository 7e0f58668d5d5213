-- What is left; writes nothing. Answers {"done", picture} | {"cold"}.
local m = read()
if not m then return { 'cold' } end
return { 'done', picture(m) }
