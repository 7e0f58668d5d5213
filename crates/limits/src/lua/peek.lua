-- What is left; writes nothing. Answers {"done", picture, 0} | {"cold"}.
local m = read()
if not m then return { 'cold' } end
return { 'done', picture(m), 0 }
