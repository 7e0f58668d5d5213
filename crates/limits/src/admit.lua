-- Admits a turn or refuses it, all windows or nothing. ARGV: now, turn, requests/min, tokens/day, in flight, input,
-- output_min, output_max, lapse_ms.
-- Answers {"granted", output, at, picture} | {"denied", window, wait, picture} | {"running"} | {"cold"}.
local now, turn = clock(ARGV[1]), ARGV[2]
local requests, tokens, flight = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local input, least, most = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local m = read(now)
if not m.warm then return { 'cold' } end
if m.holds[turn] or has_ended(turn) then return { 'running' } end

local window, wait = nil, -1
local function refuse(name, at)
  local ms = at and at - now or 2000
  if ms > wait then window, wait = name, ms end
end
if m.flight + 1 > flight then refuse('in_flight') end
if m.requests + 1 > requests then
  refuse('requests', fits_at(m.r, m.requests, 0, requests, 1, MINUTE, SECOND))
end
if m.tokens + m.reserved + input + least > tokens then
  refuse('tokens', fits_at(m.t, m.tokens, m.reserved, tokens, input + least, DAY, QUARTER))
end
if window then return { 'denied', window, wait, picture(m, now) } end

local output = math.min(most, tokens - m.tokens - m.reserved - input)
local bucket = math.floor(now / SECOND)
tidy(m)
redis.call('HSET', key, 'h' .. turn, string.format('%.0f %.0f %.0f', input + output, now, now + tonumber(ARGV[9])))
redis.call('HINCRBY', key, 'r' .. bucket, 1)
m.r[bucket] = (m.r[bucket] or 0) + 1
m.requests, m.reserved, m.flight = m.requests + 1, m.reserved + input + output, m.flight + 1
return { 'granted', output, now, picture(m, now) }
