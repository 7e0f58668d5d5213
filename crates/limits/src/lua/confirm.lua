-- Says that a hold's call is written down where it survives us: from now on it stays at its ceiling until it is settled. Then: call, at.
-- Answers 1, or 0 where there is no such hold, or none any more.
local call, at = ARGV[rest + 1], tonumber(ARGV[rest + 2])
local m = read('h:' .. call)
local since = m and tonumber(string.match(get('h:' .. call) or '', '%d+ (%d+)'))
if not since or m.lapsed[call] or math.abs(since - at) > SAME_MS then return 0 end
if settle_pending(m, call) then write(m) end
return 1
