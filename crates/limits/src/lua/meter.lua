-- Shared by every script. One hash holds all meters of a subject, so they share one cluster slot, expire together and are evicted as a
-- whole:
--   <shape>   the head. Its name is the shape of the windows and the run id of the Redis process that wrote it. Under another run id the
--             meters are cold, because a Redis that restarted from a snapshot, or a replica that was promoted, may lack the latest
--             counts. It contains the number of running calls; the number of holds that aren't confirmed (pending or lapsed), and
--             when the first of them lapses or can be deleted; when the key expires; then per window the sum of its buckets, its
--             first and its last bucket, or zeros if nothing is used, and, if it counts an amount, what running calls hold in it
--   <digits>  usage of eight consecutive buckets of a window; a missing tail is zeros
--   h:<call>  a hold: at_ms, until_ms, state, then what it reserves in each window over an amount
--   rebuild_epoch  only while cold meters are being rebuilt: identifies this loss of the meters
-- All values are packed, because most of a script's cost is converting between numbers and strings. No field is longer than 64 bytes
-- with up to two windows; beyond that Redis gives up the hash's compact encoding. Every number is an integer below 2^53.
-- KEYS: the hash. ARGV: shape, the field of a hold or an empty string, numbers as doubles: now or 0 for Redis' clock, how long the key is
-- kept, number of windows, per window 1 if it counts calls, its span and its buckets' width; then the script's own arguments.
-- `script.rs` replaces names between two pairs of at signs by constants: locals shared by functions would cost each call additional
-- memory.
local key, shape, call, numbers = KEYS[1], ARGV[1] .. @@RUN_ID@@, ARGV[2], ARGV[3]
local pack, parse, floor = struct.pack, struct.unpack, math.floor
local now, kept_ms, window_count, rest = parse('<ddd', numbers)
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000 + floor(t[2] / 1000)
end

-- --- the hash: each field is read once and changed in memory; only `write` changes Redis -------------------------------------

local fields, changed = {}, {}

-- Returns the value of a field, or false if it doesn't exist.
local function get(name)
  local value = fields[name]
  if value == nil then
    value = redis.call('HGET', key, name)
    fields[name] = value
  end
  return value
end

-- Sets a field; false deletes it.
local function set(name, value)
  fields[name], changed[name] = value, value
end

-- --- buckets ------------------------------------------------------------------------------------------------------------------

-- Returns the field of a bucket: the window's index, then the index of the group of buckets.
local function bucket_field(w, bucket) return w.index * 1000000000000 + floor(bucket / @@BUCKETS_PER_FIELD@@) .. '' end

-- Iterates over the buckets in use in order, starting at `from`.
local function used_buckets(w, from)
  local bucket, chunk = from - 1, nil
  return function()
    while bucket < w.last do
      bucket = bucket + 1
      local at = bucket % @@BUCKETS_PER_FIELD@@ * @@BUCKET_BYTES@@
      if at == 0 or not chunk then chunk = get(bucket_field(w, bucket)) or '' end
      local n = at < #chunk and parse('<I7', chunk, at + 1) or 0
      if n > 0 then return bucket, n end
    end
  end
end

-- Sets the first and the last bucket in use, or none, and deletes the fields outside that range.
local function set_range(w, first, last)
  for bucket = w.first - w.first % @@BUCKETS_PER_FIELD@@, w.last, @@BUCKETS_PER_FIELD@@ do
    if not first or bucket + @@BUCKETS_PER_FIELD@@ <= first or bucket > last then set(bucket_field(w, bucket), false) end
  end
  w.first, w.last = first or 0, first and last or 0
end

-- Adds n to a bucket; -1 subtracts one call if there is one. Ignores buckets that have left the window.
local function add(w, bucket, n)
  if n == 0 or bucket < w.oldest then return end
  local name, at = bucket_field(w, bucket), bucket % @@BUCKETS_PER_FIELD@@ * @@BUCKET_BYTES@@
  local chunk = get(name) or ''
  local size = #chunk
  local sum = n
  if at >= size then
    if n < 0 then return end
    set(name, chunk .. string.rep('\0', at - size) .. pack('<I7', n))
  else
    sum = parse('<I7', chunk, at + 1) + n
    if sum < 0 then return end
    set(name, string.sub(chunk, 1, at) .. pack('<I7', sum) .. string.sub(chunk, at + @@BUCKET_BYTES@@ + 1))
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
    for b in used_buckets(w, w.first) do first, last = first or b, b end
    set_range(w, first, last)
  end
end

-- Deletes what has left the window. Returns false if there is a sum without buckets, which no script writes.
local function drop_expired(w)
  if w.last < w.oldest then
    w.sum = 0
    set_range(w)
    return true
  end
  for bucket, n in used_buckets(w, w.first) do
    if bucket >= w.oldest then
      set_range(w, bucket, w.last)
      local name, at = bucket_field(w, bucket), bucket % @@BUCKETS_PER_FIELD@@ * @@BUCKET_BYTES@@
      set(name, string.rep('\0', at) .. string.sub(get(name), at + 1))
      return true
    end
    w.sum = w.sum - n
  end
  return false
end

-- --- the meters -----------------------------------------------------------------------------------------------------------------

local in_flight, unconfirmed, next_expiry_ms, expires_at_ms = 0, 0, @@NEVER@@, 0
local windows = {}

-- Lapses holds that were not confirmed in time, which frees what they held. The call is refunded as well, because its server may not
-- know that it was granted. Reads all holds, but only when the first of them is due.
local function lapse()
  local all = redis.call('HGETALL', key)
  unconfirmed, next_expiry_ms = 0, @@NEVER@@
  for i = 1, #all, 2 do
    local name = all[i]
    if string.sub(name, 1, 2) == 'h:' then
      local hold = all[i + 1]
      local at_ms, until_ms, state, amounts = parse(@@HOLD_FORMAT@@, hold)
      if state == @@PENDING@@ and until_ms <= now then
        until_ms, state, in_flight = until_ms + @@SETTLE_GRACE_MS@@, @@LAPSED@@, in_flight - 1
        set(name, pack(@@HOLD_FORMAT@@, at_ms, until_ms, state) .. string.sub(hold, amounts))
        for _, w in ipairs(windows) do
          if w.calls then
            add(w, floor(at_ms / w.width), -1)
          else
            local reserved
            reserved, amounts = parse(@@AMOUNT_FORMAT@@, hold, amounts)
            w.held = w.held - reserved
          end
        end
      end
      if state == @@LAPSED@@ and until_ms <= now then
        set(name, false)
      elseif state ~= @@CONFIRMED@@ then
        unconfirmed, next_expiry_ms = unconfirmed + 1, math.min(next_expiry_ms, until_ms)
      end
    end
  end
end

-- Decrements the number of unconfirmed holds, because one was confirmed or ended.
local function mark_confirmed()
  unconfirmed = unconfirmed - 1
  if unconfirmed == 0 then next_expiry_ms = @@NEVER@@ end
end

-- Packs the current meters as in the hash. Replies that contain the meters end with them.
local function meters()
  local packed = pack(@@HEAD_FORMAT@@, in_flight, unconfirmed, next_expiry_ms, expires_at_ms)
  for i = 1, window_count do
    local w = windows[i]
    if w.calls then
      packed = packed .. pack(@@CALLS_WINDOW_FORMAT@@, w.sum, w.first, w.last)
    else
      packed = packed .. pack(@@AMOUNT_WINDOW_FORMAT@@, w.sum, w.first, w.last, w.held)
    end
  end
  return packed
end

-- Writes the changes to Redis and returns the packed meters.
local function write()
  local renew = expires_at_ms < now + kept_ms
  if renew then expires_at_ms = now + kept_ms + @@SLACK_MS@@ end
  local packed = meters()
  local updates, deletions, n = { shape, packed }, {}, 2
  for name, value in pairs(changed) do
    if value then
      updates[n + 1], updates[n + 2] = name, value
      n = n + 2
    else
      deletions[#deletions + 1] = name
    end
  end
  -- HSET comes first, because Redis refuses it when out of memory, and then nothing has changed. Fields are written in batches, because
  -- Lua's stack holds only a few thousand values.
  for i = 1, n, 4000 do redis.call('HSET', key, unpack(updates, i, math.min(i + 3999, n))) end
  for i = 1, #deletions, 4000 do redis.call('HDEL', key, unpack(deletions, i, math.min(i + 3999, #deletions))) end
  if renew then redis.call('PEXPIRE', key, string.format('%.0f', expires_at_ms - now)) end
  return packed
end

-- Reads the current meters. They are cold if they are missing, if a sum has no buckets, and if a bucket lies more than a whole window
-- ahead, as a clock that was far ahead would leave it.
local head, at = redis.call('HGET', key, shape), nil
local is_warm = head
if head then in_flight, unconfirmed, next_expiry_ms, expires_at_ms, at = parse(@@HEAD_FORMAT@@, head) end
for i = 1, window_count do
  local calls, span, width
  local sum, first, last, held = 0, 0, 0, 0
  calls, span, width, rest = parse('<ddd', numbers, rest)
  calls = calls == 1
  if head then
    if calls then
      sum, first, last, at = parse(@@CALLS_WINDOW_FORMAT@@, head, at)
    else
      sum, first, last, held, at = parse(@@AMOUNT_WINDOW_FORMAT@@, head, at)
    end
  end
  local oldest = floor((now - span) / width)
  local w = { index = i, calls = calls, span = span, width = width, oldest = oldest, sum = sum, first = first, last = last, held = held }
  windows[i] = w
  if last * width > now + span or sum > 0 and first < oldest and not drop_expired(w) then is_warm = false end
end
if is_warm and next_expiry_ms <= now then lapse() end

-- Replies that the meters are cold; they are rebuilt from a history that is read after this reply. `rebuild_epoch` detects that they
-- were lost again in the meantime: the history may then lack what was granted and confirmed in between.
local function cold()
  local rebuild_epoch = redis.call('HGET', key, 'rebuild_epoch')
  if not rebuild_epoch then
    local t = redis.call('TIME')
    rebuild_epoch = t[1] .. '.' .. t[2]
    redis.call('HSET', key, 'rebuild_epoch', rebuild_epoch)
    redis.call('PEXPIRE', key, '60000')
  end
  return 'c' .. rebuild_epoch
end
