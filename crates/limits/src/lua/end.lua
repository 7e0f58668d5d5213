-- Ends a hold, once: whatever has none is ended already. Then: at, 1 to settle or 0 to release, amount.
--   settle: what was used is counted in the bucket of its admission, also past the limit, also where the hold has lapsed
--   release: nothing was used, and the call goes back
-- Answers "e" meters where there was a hold, "n" meters where there was none; "c" ticket when the history will rebuild the meters anyway.
if not warm then return cold() end
local since, settles, used = parse('<ddd', numbers, rest)
local hold = get(call)
if not hold then return pack('<c1d', 'n', now) .. meters() end
local amount, at, _, state = parse(HOLD, hold)
-- The same id admitted anew is another hold; a call that several subjects are asked about at once is admitted in each within moments.
if math.abs(at - since) > SAME_MS then return pack('<c1d', 'n', now) .. meters() end

set(call, false)
local stood = state ~= LAPSED
if state ~= STANDS then fasten() end
if stood then held, flight = held - amount, flight - 1 end
for i = 1, many do
  local w = windows[i]
  if settles == 1 and not w.calls then count(w, floor(at / w.width), used) end
  if settles == 0 and w.calls and stood then count(w, floor(at / w.width), -1) end
end
return pack('<c1d', 'e', now) .. write()
