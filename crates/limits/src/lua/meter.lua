-- Shared by every script. One hash holds all of a subject's meters, so they are in one slot, expire at once and are evicted whole:
--   m        "shape held flight pending": the shape of the windows they were counted in (under another one they are cold), what running
--            calls hold together, how many they are, and how many entries `p` has; absent where the meters are cold
--   1 2 …    per window "sum first last": the sum of its buckets, its first and its last one; absent where nothing is used
--   <i><n>   what was used in the n-th bucket since 1970 of window i; never 0. All digits, which Redis keeps as a number
--   h:<call> a hold: "amount at_ms"
--   p1 p2 …  holds that nobody has confirmed, each "until_ms state call": w while it waits and until it lapses; x once it has lapsed
--            and until nobody may settle it late any more. Few, and one field each: a field beyond 64 bytes costs the hash its
--            compact form
-- Every number is a whole one below 2^53.
-- ARGV: now, shape, how many windows, then per window: c (calls) or a (amount), span_ms, width_ms; then what the script wants.
local key, now, shape = KEYS[1], nil, ARGV[2]
if ARGV[1] ~= '' then
  now = tonumber(ARGV[1])
else
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local windows = {}
for i = 1, tonumber(ARGV[3]) do
  local a = 1 + i * 3
  local w = { place = i, calls = ARGV[a] == 'c', span = tonumber(ARGV[a + 1]), width = tonumber(ARGV[a + 2]) }
  w.oldest = math.floor((now - w.span) / w.width)
  windows[i] = w
end
local rest = 3 + #windows * 3
-- How long after it lapsed a hold may still be settled.
local LATE_MS = 3600000
-- Two admissions of one id are one call where no more lies between them.
local SAME_MS = 5000

local function whole(n) return string.format('%.0f', n) end
local function field(w, bucket) return w.place .. whole(bucket) end
local function bucket_of(w, at) return math.floor(at / w.width) end
-- When a bucket has left its window: it counts in full until its last instant has.
local function leaves(w, bucket) return (bucket + 1) * w.width + w.span end

-- --- the hash, read once per field and changed here first; only `write` changes Redis --------------------------------------

local have, dirty = {}, {}

local function load(names)
  local missing = {}
  for _, name in ipairs(names) do
    if have[name] == nil then missing[#missing + 1] = name end
  end
  -- Few at a time: Lua's stack holds some thousands.
  for low = 1, #missing, 4000 do
    local found = redis.call('HMGET', key, unpack(missing, low, math.min(low + 3999, #missing)))
    for i, value in ipairs(found) do have[missing[low + i - 1]] = value end
  end
end

local function get(name)
  if have[name] == nil then load({ name }) end
  return have[name]
end

-- False takes a field away.
local function set(name, value)
  if have[name] ~= value then
    have[name] = value
    dirty[name] = true
  end
end

-- --- buckets ----------------------------------------------------------------------------------------------------------------

-- The buckets from one to another that hold anything, in order. Reads few at first: most walks end early.
local function each(w, from, to)
  local b, read, step = from, from - 1, 4
  return function()
    while b <= to do
      if b > read then
        local names = {}
        read, step = math.min(to, b + step - 1), math.min(step * 4, 256)
        for n = b, read do names[#names + 1] = field(w, n) end
        load(names)
      end
      local n = tonumber(have[field(w, b)] or 0)
      b = b + 1
      if n > 0 then return b - 1, n end
    end
  end
end

-- Counts so much more, or so much less, in a bucket. What has left the window isn't counted.
local function count(w, bucket, n)
  if n == 0 or bucket < w.oldest then return end
  local left = tonumber(get(field(w, bucket)) or 0) + n
  set(field(w, bucket), left > 0 and whole(left) or false)
  w.sum = w.sum + n
  if w.sum <= 0 then
    w.first, w.last = nil, nil
  elseif left == 0 then
    local first, last
    for b in each(w, w.first, w.last) do first, last = first or b, b end
    w.first, w.last = first, last
  else
    w.first, w.last = math.min(w.first or bucket, bucket), math.max(w.last or bucket, bucket)
  end
end

-- In how many milliseconds `excess` of what is used has left the window; -1 where that isn't enough.
local function frees(w, excess)
  if excess <= 0 then return 0 end
  if w.sum > 0 then
    for b, n in each(w, w.first, w.last) do
      excess = excess - n
      if excess <= 0 then return leaves(w, b) - now end
    end
  end
  return -1
end

-- --- the meters ---------------------------------------------------------------------------------------------------------------

-- What has left its window goes; false where a sum stands without its buckets, as a write that broke off half-way would leave it, and
-- where buckets lie further ahead than a whole window, as a clock that was far ahead would: such meters are rebuilt.
local function slide(w)
  local sum, first, last = string.match(get(w.place .. '') or '', '(%d+) (%d+) (%d+)')
  w.sum, w.first, w.last = tonumber(sum or 0), tonumber(first), tonumber(last)
  if w.sum > 0 and w.last * w.width > now + w.span then return false end
  if w.sum == 0 or w.first >= w.oldest then return true end
  for b, n in each(w, w.first, math.min(w.oldest - 1, w.last)) do
    w.sum = w.sum - n
    set(field(w, b), false)
  end
  w.first = w.sum > 0 and w.last >= w.oldest and each(w, w.oldest, w.last)() or nil
  if not w.first then w.last = nil end
  if w.sum > 0 and not w.first then return false end
  return true
end

-- Holds that nobody confirmed in time: what they held is free. Their server may not even know that they were granted, so the call
-- goes back as well.
local function lapse(m)
  local kept = {}
  for _, p in ipairs(m.pending) do
    if p.waits and p.till <= now then
      local amount, at = string.match(get('h:' .. p.call) or '', '(%d+) (%d+)')
      if amount then
        m.held, m.flight = m.held - tonumber(amount), m.flight - 1
        for _, w in ipairs(windows) do
          local bucket = bucket_of(w, tonumber(at))
          if w.calls and tonumber(get(field(w, bucket)) or 0) > 0 then count(w, bucket, -1) end
        end
        p.waits, p.till = false, p.till + LATE_MS
      end
    end
    if p.till > now then
      kept[#kept + 1] = p
      m.lapsed[p.call] = not p.waits or nil
    else
      set('h:' .. p.call, false)
    end
  end
  m.pending = kept
end

-- The meters as they are now; none where they are cold. `more` are fields that the script will want.
local function read(...)
  local names = { 'm', 'p1', ... }
  for i = 1, #windows do names[#names + 1] = i .. '' end
  load(names)
  local shaped, held, flight, pending = string.match(have.m or '', '(%S+) (%d+) (%d+) (%d+)')
  if shaped ~= shape then return nil end
  local m = { held = tonumber(held), flight = tonumber(flight), pending = {}, lapsed = {}, had = tonumber(pending) }
  for _, w in ipairs(windows) do
    if not slide(w) then return nil end
  end
  if m.had > 0 then
    names = {}
    for i = 1, m.had do names[i] = 'p' .. i end
    load(names)
    for i = 1, m.had do
      local till, state, call = string.match(have['p' .. i] or '', '(%d+) (%a) (.+)')
      if till then m.pending[#m.pending + 1] = { till = tonumber(till), waits = state == 'w', call = call } end
    end
    lapse(m)
  end
  return m
end

-- What is left, as every answer tells it: calls at once, then per window: used, held, until all is free, until some is.
local function picture(m)
  local p = { m.flight }
  for _, w in ipairs(windows) do
    p[#p + 1] = w.sum
    p[#p + 1] = w.calls and 0 or m.held
    p[#p + 1] = w.last and leaves(w, w.last) - now or -1
    p[#p + 1] = w.first and leaves(w, w.first) - now or -1
  end
  return p
end

-- Takes a call off the unconfirmed ones; whether it waited there.
local function settle_pending(m, call)
  for i, p in ipairs(m.pending) do
    if p.call == call then
      table.remove(m.pending, i)
      return p.waits
    end
  end
  return false
end

local function write(m)
  for i, p in ipairs(m.pending) do set('p' .. i, whole(p.till) .. (p.waits and ' w ' or ' x ') .. p.call) end
  for i = #m.pending + 1, m.had do set('p' .. i, false) end
  set('m', shape .. ' ' .. whole(m.held) .. ' ' .. whole(m.flight) .. ' ' .. #m.pending)
  local longest, gone, kept = 3600000, {}, {}
  for _, w in ipairs(windows) do
    set(w.place .. '', w.sum > 0 and (whole(w.sum) .. ' ' .. whole(w.first) .. ' ' .. whole(w.last)) or false)
    longest = math.max(longest, w.span + 2 * w.width)
  end
  for name in pairs(dirty) do
    if have[name] then
      kept[#kept + 1] = name
      kept[#kept + 1] = have[name]
    else
      gone[#gone + 1] = name
    end
  end
  -- What a Redis without memory refuses comes first: then nothing has changed.
  for i = 1, #kept, 4000 do redis.call('HSET', key, unpack(kept, i, math.min(i + 3999, #kept))) end
  for i = 1, #gone, 4000 do redis.call('HDEL', key, unpack(gone, i, math.min(i + 3999, #gone))) end
  -- A hold outlives its windows: a day at least for calls that run.
  redis.call('PEXPIRE', key, whole(m.flight > 0 and math.max(longest, 90000000) or longest))
end
