-- Admits a call or refuses it, all windows or nothing. Then: call, input, output_min, output_max, lapse_ms, calls at once (or -1), and
-- a limit per window. Answers {"granted", output, at, picture} | {"denied", picture, calls-at-once wait, wait per window…} |
-- {"running"} | {"cold"}. A wait is 0 where it fits, -1 where only the end of a running call can make room.
local call = ARGV[rest + 1]
local input, least, most = tonumber(ARGV[rest + 2]), tonumber(ARGV[rest + 3]), tonumber(ARGV[rest + 4])
local lapse_ms, flight = tonumber(ARGV[rest + 5]), tonumber(ARGV[rest + 6])
local wanted = { 'h:' .. call }
for _, w in ipairs(windows) do
  if w.calls then wanted[#wanted + 1] = field(w, bucket_of(w, now)) end
end
local m = read(unpack(wanted))
if not m then return { 'cold' } end
if get('h:' .. call) and not m.lapsed[call] then return { 'running' } end

local waits, fits = { (flight >= 0 and m.flight + 1 > flight) and -1 or 0 }, true
local output = most
for i, w in ipairs(windows) do
  local limit = tonumber(ARGV[rest + 6 + i])
  local used = w.sum + (w.calls and 0 or m.held)
  waits[i + 1] = frees(w, used + (w.calls and 1 or input + least) - limit)
  if not w.calls then output = math.min(output, limit - used - input) end
end
for _, wait in ipairs(waits) do fits = fits and wait == 0 end
if not fits then return { 'denied', picture(m), unpack(waits) } end

settle_pending(m, call)
m.pending[#m.pending + 1] = { till = now + lapse_ms, waits = true, call = call }
set('h:' .. call, whole(input + output) .. ' ' .. whole(now))
m.held, m.flight = m.held + input + output, m.flight + 1
for _, w in ipairs(windows) do
  if w.calls then count(w, bucket_of(w, now), 1) end
end
write(m)
return { 'granted', output, now, picture(m) }
