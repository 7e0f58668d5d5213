-- Shared by every script. One hash holds a subject's meters, so one key is one slot and one expiry:
--   w                1 once the meters were built from the history; without it they are cold
--   held, flight     what running calls hold together, and how many they are
--   p                holds that nobody has confirmed, each as "lapses_ms call": few, and for ten seconds each
--   h:<call>         a hold: "amount at_ms lapses_ms", lapses_ms 0 once confirmed
--   s: f: l:<window> the sum of a window's buckets, its first and its last bucket; absent where nothing is used
--   <window>:<n>     what was used in the n-th bucket since 1970; never 0
-- Beside it, in the same slot, a short-lived key per ended call makes ending it again do nothing. Every number is a whole one below
-- 2^53.
-- ARGV: now, how many windows, then per window: name, c (calls) or a (amount), span_ms, width_ms; then what the script wants.
local key = KEYS[1]
local now
if ARGV[1] ~= '' then
  now = tonumber(ARGV[1])
else
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local windows = {}
for i = 1, tonumber(ARGV[2]) do
  local a = 3 + (i - 1) * 4
  windows[i] = { name = ARGV[a], calls = ARGV[a + 1] == 'c', span = tonumber(ARGV[a + 2]), width = tonumber(ARGV[a + 3]) }
end
local rest = 2 + #windows * 4

local function whole(n) return string.format('%.0f', n) end
local function field(w, bucket) return w.name .. ':' .. whole(bucket) end
local function bucket_of(w, at) return math.floor(at / w.width) end
-- When a bucket has left its window: it counts in full until its last instant has.
local function leaves(w, bucket) return (bucket + 1) * w.width + w.span end

-- The buckets from one to another, as far as they hold anything, in order.
local function buckets(w, from, to)
  local found = {}
  -- Few at a time, for the stack's sake; a ring has some hundred at most.
  for low = from, to, 500 do
    local names = {}
    for b = low, math.min(to, low + 499) do names[#names + 1] = field(w, b) end
    for i, n in ipairs(redis.call('HMGET', key, unpack(names))) do
      n = tonumber(n or 0) - (w.minus and w.minus[low + i - 1] or 0)
      if n > 0 then found[#found + 1] = { low + i - 1, n } end
    end
  end
  return found
end

-- Takes what has lapsed out of the picture, without writing.
local function lapse(m)
  for _, p in ipairs(m.pending) do
    local call = p[2]
    local hold = p[1] <= now and redis.call('HGET', key, 'h:' .. call)
    if hold then
      local amount, at = string.match(hold, '(%d+) (%d+)')
      m.lapsed[call] = true
      m.held, m.flight = m.held - tonumber(amount), m.flight - 1
      for _, w in ipairs(windows) do
        local bucket = bucket_of(w, tonumber(at))
        -- Never confirmed: its server may not even know that it was granted. The call goes back with it.
        if w.calls and w.sum > 0 and bucket >= w.oldest then
          w.minus = w.minus or {}
          w.minus[bucket] = (w.minus[bucket] or 0) + 1
          w.sum = w.sum - 1
        end
      end
    end
  end
end

-- The meters as they are now. What has left a window, and what has lapsed, is out of them, and still stands in Redis.
local function read()
  local names = { 'w', 'held', 'flight', 'p' }
  for _, w in ipairs(windows) do
    for _, part in ipairs({ 's:', 'f:', 'l:' }) do names[#names + 1] = part .. w.name end
  end
  local v = redis.call('HMGET', key, unpack(names))
  local m = { warm = v[1], held = tonumber(v[2] or 0), flight = tonumber(v[3] or 0), lapsed = {}, pending = {} }
  for lapses, call in string.gmatch(v[4] or '', '(%d+) (%S+)') do m.pending[#m.pending + 1] = { tonumber(lapses), call } end
  for i, w in ipairs(windows) do
    w.sum, w.first, w.last = tonumber(v[i * 3 + 2] or 0), v[i * 3 + 3] and tonumber(v[i * 3 + 3]), v[i * 3 + 4] and tonumber(v[i * 3 + 4])
    w.oldest = math.floor((now - w.span) / w.width)
    if w.sum > 0 and w.first < w.oldest then
      w.gone = buckets(w, w.first, math.min(w.oldest - 1, w.last))
      for _, b in ipairs(w.gone) do w.sum = w.sum - b[2] end
      local live = w.last >= w.oldest and buckets(w, w.oldest, w.last) or {}
      -- A sum without buckets: a write that broke off half-way. Such meters are as good as lost.
      if w.sum > 0 and not live[1] then m.warm, w.sum = nil, 0 end
      w.first = w.sum > 0 and live[1][1] or nil
      w.last = w.sum > 0 and w.last or nil
    end
  end
  lapse(m)
  return m
end

-- The first and last bucket of a window, lapsed calls left out.
local function ends(w)
  if w.sum <= 0 then return nil, nil end
  if not w.minus then return w.first, w.last end
  local all = buckets(w, w.first, w.last)
  return all[1] and all[1][1], all[#all] and all[#all][1]
end

-- What is left, as every answer tells it: calls at once, then per window: used, held, until all is free, until some is.
local function picture(m)
  local p = { m.flight }
  for _, w in ipairs(windows) do
    local first, last = ends(w)
    p[#p + 1] = w.sum
    p[#p + 1] = w.calls and 0 or m.held
    p[#p + 1] = last and leaves(w, last) - now or -1
    p[#p + 1] = first and leaves(w, first) - now or -1
  end
  return p
end

-- In how many milliseconds `excess` of what is used has left the window; -1 where that isn't enough.
local function frees(w, excess)
  if excess <= 0 then return 0 end
  if w.sum > 0 then
    for _, b in ipairs(buckets(w, w.first, w.last)) do
      excess = excess - b[2]
      if excess <= 0 then return leaves(w, b[1]) - now end
    end
  end
  return -1
end

-- --- writers only ---------------------------------------------------------------------------------------------------------

local function keep(w)
  if w.sum > 0 then
    redis.call('HSET', key, 's:' .. w.name, whole(w.sum), 'f:' .. w.name, whole(w.first), 'l:' .. w.name, whole(w.last))
  else
    redis.call('HDEL', key, 's:' .. w.name, 'f:' .. w.name, 'l:' .. w.name)
  end
end

-- Counts so much more, or so much less, in the bucket of an instant. What has left the window isn't counted.
local function count(w, at, n)
  local bucket = bucket_of(w, at)
  if n == 0 or bucket < w.oldest then return end
  local left = redis.call('HINCRBY', key, field(w, bucket), whole(n))
  if left == 0 then redis.call('HDEL', key, field(w, bucket)) end
  w.sum = w.sum + n
  if w.sum <= 0 then
    w.first, w.last = nil, nil
  elseif left == 0 then
    local all = buckets(w, w.first, w.last)
    w.first, w.last = all[1][1], all[#all][1]
  else
    w.first, w.last = math.min(w.first or bucket, bucket), math.max(w.last or bucket, bucket)
  end
end

local function forget(m, call)
  for i, p in ipairs(m.pending) do
    if p[2] == call then return table.remove(m.pending, i) end
  end
end

-- Writers write down what readers only left out.
local function tidy(m)
  -- First of all a write that Redis refuses when it has no memory: nothing may break off half-way.
  redis.call('HSET', key, 'w', 1)
  for _, w in ipairs(windows) do
    local minus = w.minus
    w.minus = nil
    for _, b in ipairs(w.gone or {}) do redis.call('HDEL', key, field(w, b[1])) end
    for bucket, n in pairs(minus or {}) do
      w.sum = w.sum + n
      count(w, bucket * w.width, -n)
    end
    if w.gone or minus then keep(w) end
  end
  for call in pairs(m.lapsed) do
    redis.call('HDEL', key, 'h:' .. call)
    forget(m, call)
  end
end

local function write(m)
  redis.call('HSET', key, 'held', whole(m.held), 'flight', whole(m.flight))
  local longest = 0
  for _, w in ipairs(windows) do
    keep(w)
    longest = math.max(longest, w.span + 2 * w.width)
  end
  local p = {}
  for i, one in ipairs(m.pending) do p[i] = whole(one[1]) .. ' ' .. one[2] end
  if #p > 0 then redis.call('HSET', key, 'p', table.concat(p, '\n')) else redis.call('HDEL', key, 'p') end
  -- A hold outlives its windows: a day for calls that run, an hour otherwise, at least.
  redis.call('PEXPIRE', key, whole(math.max(longest, m.flight > 0 and 90000000 or 3600000)))
end

local function remember(call, ms) redis.call('SET', key .. ':' .. call, 1, 'PX', whole(ms)) end
