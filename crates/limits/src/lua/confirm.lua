-- Says that a hold's call is written down where it survives us: from now on it stays at its ceiling until it is settled. Then: call.
-- Answers 1, or 0 where there is no such hold, or none any more.
local call = ARGV[rest + 1]
local m = read('h:' .. call)
if not m or not get('h:' .. call) or m.lapsed[call] then return 0 end
if settle_pending(m, call) then write(m) end
return 1
