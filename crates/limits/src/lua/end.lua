-- Ends a hold, once. Then: call, at, mode, amount, remember_ms.
--   settle: what was used is counted in the bucket of its admission, also past the limit
--   heal: as settle where the hold still stands, else nothing
--   release: nothing was used, and the call goes back
-- Answers {"done", picture}; {"cold"} when the history will rebuild the meters anyway.
local call, at, mode, amount = ARGV[rest + 1], tonumber(ARGV[rest + 2]), ARGV[rest + 3], tonumber(ARGV[rest + 4])
local m = read()
if not m.warm then return { 'cold' } end
if redis.call('EXISTS', key .. ':' .. call) == 0 then
  tidy(m)
  local hold = redis.call('HGET', key, 'h:' .. call)
  if hold then
    local held, since = string.match(hold, '(%d+) (%d+)')
    at = tonumber(since)
    redis.call('HDEL', key, 'h:' .. call)
    forget(m, call)
    m.held, m.flight = m.held - tonumber(held), m.flight - 1
  end
  if mode == 'heal' and hold then mode = 'settle' end
  -- Without a hold it is one that lapsed, or was settled so long ago that nobody remembers: only the former, and soon, counts.
  if mode == 'settle' and not hold and now - at >= tonumber(ARGV[rest + 5]) then mode = 'heal' end
  for _, w in ipairs(windows) do
    if mode == 'settle' and not w.calls then count(w, at, amount) end
    if mode == 'release' and hold and w.calls then count(w, at, -1) end
  end
  -- A release leaves nothing behind: the same call may be admitted again.
  if mode == 'settle' then remember(call, tonumber(ARGV[rest + 5])) end
  write(m)
end
return { 'done', picture(m) }
