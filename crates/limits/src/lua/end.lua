-- Ends a hold, once: whatever has none is ended already. Then: call, at, mode, amount.
--   settle: what was used is counted in the bucket of its admission, also past the limit, also where the hold has lapsed
--   release: nothing was used, and the call goes back
-- Answers {"done", picture, 1 where there was a hold}; {"cold"} when the history will rebuild the meters anyway.
local call, at, mode, amount = ARGV[rest + 1], tonumber(ARGV[rest + 2]), ARGV[rest + 3], tonumber(ARGV[rest + 4])
local m = read('h:' .. call)
if not m then return { 'cold' } end
local held, since = string.match(get('h:' .. call) or '', '(%d+) (%d+)')
since = tonumber(since)
-- The same id admitted anew is another hold; a call that several subjects are asked about at once is admitted in each within moments.
held = held and math.abs(since - at) <= SAME_MS and held
if held then
  local stood = not m.lapsed[call]
  settle_pending(m, call)
  set('h:' .. call, false)
  if stood then m.held, m.flight = m.held - tonumber(held), m.flight - 1 end
  for _, w in ipairs(windows) do
    if mode == 'settle' and not w.calls then count(w, bucket_of(w, since), amount) end
    if mode == 'release' and stood and w.calls then count(w, bucket_of(w, since), -1) end
  end
  write(m)
end
return { 'done', picture(m), held and 1 or 0 }
