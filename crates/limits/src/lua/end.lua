-- Ends a hold. Does nothing if there is none, because it has already been ended.
-- Own arguments: at_ms, then 1 to settle and the amount per window over an amount, or 0 to release.
--   settle: counts the amounts in the bucket of the admission, even past the limit and even if the hold has lapsed
--   release: counts nothing and refunds the call
-- Replies "e" now, meters if there was a hold | "n" now, meters if there was none | "c" rebuild_epoch if the meters are cold, because
-- rebuilding them from the history includes this call.
if not is_warm then return cold() end
local admitted_ms, is_settlement, next_amount = parse('<dd', numbers, rest)
local hold = get(call)
if not hold then return pack('<c1d', 'n', now) .. meters() end
local at_ms, _, state, amounts = parse(@@HOLD_FORMAT@@, hold)
-- The same id admitted at another time is a different hold. One call admitted for several subjects is admitted in each within moments.
if math.abs(at_ms - admitted_ms) > @@SAME_CALL_MS@@ then return pack('<c1d', 'n', now) .. meters() end

set(call, false)
local is_active = state ~= @@LAPSED@@
if state ~= @@CONFIRMED@@ then mark_confirmed() end
if is_active then in_flight = in_flight - 1 end
for i = 1, window_count do
  local w = windows[i]
  if w.calls then
    if is_settlement == 0 and is_active then add(w, floor(at_ms / w.width), -1) end
  else
    local reserved, used
    reserved, amounts = parse(@@AMOUNT_FORMAT@@, hold, amounts)
    if is_active then w.held = w.held - reserved end
    if is_settlement == 1 then
      used, next_amount = parse('<d', numbers, next_amount)
      add(w, floor(at_ms / w.width), used)
    end
  end
end
return pack('<c1d', 'e', now) .. write()
