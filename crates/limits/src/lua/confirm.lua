-- Confirms a hold, because its call is recorded durably: it keeps its full reservation until it is ended. Own argument: at_ms.
-- Replies "y", or "n" if there is no such hold or it has lapsed.
local hold = is_warm and get(call)
if not hold then return 'n' end
local at_ms, _, state, amounts = parse(@@HOLD_FORMAT@@, hold)
if state == @@LAPSED@@ or math.abs(at_ms - parse('<d', numbers, rest)) > @@SAME_CALL_MS@@ then return 'n' end
if state == @@PENDING@@ then
  set(call, pack(@@HOLD_FORMAT@@, at_ms, 0, @@CONFIRMED@@) .. string.sub(hold, amounts))
  mark_confirmed()
  write()
end
return 'y'
