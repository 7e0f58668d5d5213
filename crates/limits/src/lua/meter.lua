-- Shared by every script. One hash holds all of a subject's meters, so they are in one slot, expire at once and are evicted whole:
--   <shape>   what stands in front, named by the shape of the windows it was counted in and by the run id of the Redis process that
--             counted (under another one the meters are cold: a Redis that restarted from a snapshot, or a replica that took over, may
--             lack what was counted last): what
--             running calls hold together, how many they are; how many holds are loose (not confirmed, or lapsed), when the first of
--             them lapses or may be forgotten; until when the key is kept; then per window the sum of its buckets, its first and its last one, or zeros where nothing is used
--   <digits>  what was used in SLOTS buckets of a window, one after the other; a missing end is zeros
--   h:<call>  a hold: amount, at_ms, until_ms, state
--   ticket    only while the meters are cold and somebody reads the history for them
-- All packed, since most of what a script costs is making strings of numbers and numbers of strings; and no field longer than 64
-- bytes with up to two windows, beyond which Redis gives up the hash's compact form. Every number is a whole one below 2^53.
-- KEYS: the hash. ARGV: shape, the field of a hold or nothing, numbers as doubles: now or 0, how long the key is kept, how many
-- windows, per window 1 where it counts calls, its span and its buckets' width; then what the script wants.
-- Words in capitals are constants that `script.rs` writes in: a local that functions share costs each call some memory of its own.
local key, shape, call, numbers = KEYS[1], ARGV[1] .. BOOT, ARGV[2], ARGV[3]
local pack, parse, floor = struct.pack, struct.unpack, math.floor
local now, kept_ms, many, rest = parse('<ddd', numbers)
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000 + floor(t[2] / 1000)
end

-- --- the hash: read once per field and changed here first; only `write` changes Redis ----------------------------------------

local have, changed = {}, {}

-- False where there is no such field.
local function get(name)
  local value = have[name]
  if value == nil then
    value = redis.call('HGET', key, name)
    have[name] = value
  end
  return value
end

-- False takes a field away.
local function set(name, value)
  have[name], changed[name] = value, value
end

-- --- buckets ------------------------------------------------------------------------------------------------------------------

-- The field of a bucket: the window's place, then which eight.
local function field(w, bucket) return w.place * 1000000000000 + floor(bucket / SLOTS) .. '' end

-- The buckets that hold anything, in order, from one on.
local function each(w, from)
  local bucket, chunk = from - 1, nil
  return function()
    while bucket < w.last do
      bucket = bucket + 1
      local at = bucket % SLOTS * SLOT
      if at == 0 or not chunk then chunk = get(field(w, bucket)) or '' end
      local n = at < #chunk and parse('<I7', chunk, at + 1) or 0
      if n > 0 then return bucket, n end
    end
  end
end

-- What counts lies between these two buckets now, or nothing does; the fields around them go.
local function narrow(w, first, last)
  for bucket = w.first - w.first % SLOTS, w.last, SLOTS do
    if not first or bucket + SLOTS <= first or bucket > last then set(field(w, bucket), false) end
  end
  w.first, w.last = first or 0, first and last or 0
end

-- Counts so much more, or takes one back where there is one. What has left the window isn't counted.
local function count(w, bucket, n)
  if n == 0 or bucket < w.oldest then return end
  local name, at = field(w, bucket), bucket % SLOTS * SLOT
  local chunk = get(name) or ''
  local size = #chunk
  local sum = n
  if at >= size then
    if n < 0 then return end
    set(name, chunk .. string.rep('\0', at - size) .. pack('<I7', n))
  else
    sum = parse('<I7', chunk, at + 1) + n
    if sum < 0 then return end
    set(name, string.sub(chunk, 1, at) .. pack('<I7', sum) .. string.sub(chunk, at + SLOT + 1))
  end
  if w.sum == 0 then
    w.first, w.last = bucket, bucket
  elseif bucket < w.first then
    w.first = bucket
  elseif bucket > w.last then
    w.last = bucket
  end
  w.sum = w.sum + n
  if sum == 0 then
    local first, last
    for b in each(w, w.first) do first, last = first or b, b end
    narrow(w, first, last)
  end
end

-- What has left its window goes; false where a sum stands without its buckets, which nothing of ours leaves behind.
local function slide(w)
  if w.last < w.oldest then
    w.sum = 0
    narrow(w)
    return true
  end
  for bucket, n in each(w, w.first) do
    if bucket >= w.oldest then
      narrow(w, bucket, w.last)
      local name, at = field(w, bucket), bucket % SLOTS * SLOT
      set(name, string.rep('\0', at) .. string.sub(get(name), at + 1))
      return true
    end
    w.sum = w.sum - n
  end
  return false
end

-- --- the meters -----------------------------------------------------------------------------------------------------------------

local held, flight, loose, wakes, expires = 0, 0, 0, NEVER, 0
local windows = {}

-- Holds that nobody confirmed in time: what they held is free. Their server may not even know that they were granted, so the call
-- goes back as well. Reads every hold, and does so rarely: once a hold's time has come, however many there are.
local function lapse()
  local all = redis.call('HGETALL', key)
  loose, wakes = 0, NEVER
  for i = 1, #all, 2 do
    local name = all[i]
    if string.sub(name, 1, 2) == 'h:' then
      local amount, at, till, state = parse(HOLD, all[i + 1])
      if state == WAITS and till <= now then
        held, flight = held - amount, flight - 1
        for _, w in ipairs(windows) do
          if w.calls then count(w, floor(at / w.width), -1) end
        end
        till, state = till + LATE_MS, LAPSED
        set(name, pack(HOLD, amount, at, till, state))
      end
      if state == LAPSED and till <= now then
        set(name, false)
      elseif state ~= STANDS then
        loose, wakes = loose + 1, math.min(wakes, till)
      end
    end
  end
end

-- One hold fewer is loose: it was confirmed, or ended.
local function fasten()
  loose = loose - 1
  if loose == 0 then wakes = NEVER end
end

-- The meters as they are now, packed as in the hash. Every answer ends with them.
local function meters()
  local packed = pack(HEAD, held, flight, loose, wakes, expires)
  for i = 1, many do
    local w = windows[i]
    packed = packed .. pack(SPAN, w.sum, w.first, w.last)
  end
  return packed
end

-- Writes what has changed; answers the meters.
local function write()
  local renew = expires < now + kept_ms
  if renew then expires = now + kept_ms + SLACK_MS end
  local packed = meters()
  local puts, gone, n = { shape, packed }, {}, 2
  for name, value in pairs(changed) do
    if value then
      puts[n + 1], puts[n + 2] = name, value
      n = n + 2
    else
      gone[#gone + 1] = name
    end
  end
  -- What a Redis without memory refuses comes first: then nothing has changed. And few at a time: Lua's stack holds some thousands.
  for i = 1, n, 4000 do redis.call('HSET', key, unpack(puts, i, math.min(i + 3999, n))) end
  for i = 1, #gone, 4000 do redis.call('HDEL', key, unpack(gone, i, math.min(i + 3999, #gone))) end
  if renew then redis.call('PEXPIRE', key, string.format('%.0f', expires - now)) end
  return packed
end

-- Reads the meters as they are now. They are cold where they aren't there, and where buckets lie further ahead than a whole window, as a
-- clock that was far ahead would leave them.
local head, at = redis.call('HGET', key, shape), nil
local warm = head
if head then held, flight, loose, wakes, expires, at = parse(HEAD, head) end
for i = 1, many do
  local calls, span, width
  local sum, first, last = 0, 0, 0
  calls, span, width, rest = parse('<ddd', numbers, rest)
  if head then sum, first, last, at = parse(SPAN, head, at) end
  local oldest = floor((now - span) / width)
  local w = { place = i, calls = calls == 1, span = span, width = width, oldest = oldest, sum = sum, first = first, last = last }
  windows[i] = w
  if last * width > now + span or sum > 0 and first < oldest and not slide(w) then warm = false end
end
if warm and wakes <= now then lapse() end

-- Cold meters are built from a history that is read after this answer. The ticket tells whether they are lost once more until then: what was
-- read may lack what was granted and confirmed in between.
local function cold()
  local ticket = redis.call('HGET', key, 'ticket')
  if not ticket then
    local t = redis.call('TIME')
    ticket = t[1] .. '.' .. t[2]
    redis.call('HSET', key, 'ticket', ticket)
    redis.call('PEXPIRE', key, '60000')
  end
  return 'c' .. ticket
end
