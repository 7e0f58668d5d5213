-- Ends a hold. Does nothing if there is none, because it has already been ended.
-- Own arguments: at, 1 to settle or 0 to release, amount.
--   settle: counts the amount in the bucket of the admission, even past the limit and even if the hold has lapsed
--   release: counts nothing and refunds the call
-- Replies "e" now, meters if there was a hold | "n" now, meters if there was none | "c" rebuild_epoch if the meters are cold, because
-- rebuilding them from the history includes this call.
if not is_warm then return cold() end
local admitted_ms, is_settlement, used = parse('<ddd', numbers, rest)
local hold = get(call)
if not hold then return pack('<c1d', 'n', now) .. meters() end
local amount, at, _, state = parse(@@HOLD_FORMAT@@, hold)
-- The same id admitted at another time is a different hold. One call admitted for several subjects is admitted in each within moments.
if math.abs(at - admitted_ms) > @@SAME_CALL_MS@@ then return pack('<c1d', 'n', now) .. meters() end

set(call, false)
local is_active = state ~= @@LAPSED@@
if state ~= @@CONFIRMED@@ then mark_confirmed() end
if is_active then held, in_flight = held - amount, in_flight - 1 end
for i = 1, window_count do
  local w = windows[i]
  if is_settlement == 1 and not w.calls then add(w, floor(at / w.width), used) end
  if is_settlement == 0 and w.calls and is_active then add(w, floor(at / w.width), -1) end
end
return pack('<c1d', 'e', now) .. write()
