-- Builds cold meters from the ledger; does nothing to warm ones. ARGV: now, remember_ms, then per past turn: id, at_ms, tokens, 1 where it
-- still runs. Answers 1.
local now, keep_ms = clock(ARGV[1]), tonumber(ARGV[2])
if redis.call('HEXISTS', key, 'w') == 1 then return 1 end
redis.call('HSET', key, 'w', 1)
local r0, t0 = oldest(now, MINUTE, SECOND), oldest(now, DAY, QUARTER)
for i = 3, #ARGV, 4 do
  local turn, at, tokens, runs = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3] == '1'
  local second, quarter = math.floor(at / SECOND), math.floor(at / QUARTER)
  if second >= r0 then redis.call('HINCRBY', key, 'r' .. second, 1) end
  if runs then
    redis.call('HSET', key, 'h' .. turn, string.format('%.0f %.0f 0', tokens, at))
  else
    if tokens > 0 and quarter >= t0 then redis.call('HINCRBY', key, 't' .. quarter, tokens) end
    -- Recorded but perhaps not settled yet: the settlement that is on its way must not count it again.
    if at >= now - keep_ms then remember(turn, keep_ms) end
  end
end
redis.call('PEXPIRE', key, DAY + 2 * QUARTER)
return 1
