-- Says that a hold's call is written down where it survives us: from now on it stays at its ceiling until it is ended. Then: at.
-- Answers "y", or "n" where there is no such hold, or none any more.
local hold = warm and get(call)
if not hold then return 'n' end
local amount, at, _, state = parse(HOLD, hold)
if state == LAPSED or math.abs(at - parse('<d', numbers, rest)) > SAME_MS then return 'n' end
if state == WAITS then
  set(call, pack(HOLD, amount, at, 0, STANDS))
  fasten()
  write()
end
return 'y'
