-- Ends a hold, once. ARGV: now, turn, at, mode, tokens, remember_ms.
--   settle: what was used is counted in the bucket of its admission, also past the limit
--   heal: as settle where the hold still stands, else nothing
--   release: nothing was used, and the request goes back
-- Answers {"done", picture}; {"cold"} when the ledger will rebuild the meters anyway.
local now, turn, at, mode, tokens = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local m = read(now)
if not m.warm then return { 'cold' } end
if not has_ended(turn) then
  tidy(m)
  local hold = m.holds[turn]
  if hold then
    at = hold.at
    redis.call('HDEL', key, 'h' .. turn)
    m.reserved, m.flight = m.reserved - hold.tokens, m.flight - 1
  end
  if mode == 'heal' and hold then mode = 'settle' end
  if mode == 'settle' then
    local bucket = math.floor(at / QUARTER)
    if tokens > 0 and bucket >= oldest(now, DAY, QUARTER) then
      redis.call('HINCRBY', key, 't' .. bucket, tokens)
      m.t[bucket], m.tokens = (m.t[bucket] or 0) + tokens, m.tokens + tokens
    end
  elseif mode == 'release' and hold then
    local bucket = math.floor(at / SECOND)
    if m.r[bucket] then
      m.r[bucket], m.requests = m.r[bucket] - 1, m.requests - 1
      redis.call('HSET', key, 'r' .. bucket, m.r[bucket])
    end
  end
  -- A release leaves nothing behind: the same turn may be admitted again.
  if mode == 'settle' then remember(turn, ARGV[6]) end
end
return { 'done', picture(m, now) }
