-- Shared by every script. One hash holds all of a person's meters, so one key is one slot and one expiry:
--   w             1 once the meters were built from the ledger; without it they are cold
--   r<bucket>     requests admitted in a bucket of a second
--   t<bucket>     tokens spent in a bucket of a quarter of an hour
--   h<turn>       a hold: "tokens at_ms lapses_ms", lapses_ms 0 once confirmed
-- Beside it, in the same slot, a short-lived key per ended turn makes ending it again do nothing.
local MINUTE, SECOND, DAY, QUARTER = 60000, 1000, 86400000, 900000
local key = KEYS[1]

local function clock(arg)
  if arg ~= '' then return tonumber(arg) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The oldest bucket that may still hold something used within the window: it counts in full, so that no trailing
-- window is ever over its limit.
local function oldest(now, window, width) return math.floor((now - window) / width) end
-- When a bucket has left the window.
local function leaves(bucket, window, width) return (bucket + 1) * width + window end

local function read(now)
  local m = { r = {}, t = {}, requests = 0, tokens = 0, reserved = 0, flight = 0, holds = {}, stale = {} }
  local r0, t0 = oldest(now, MINUTE, SECOND), oldest(now, DAY, QUARTER)
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    local kind, name = string.sub(field, 1, 1), string.sub(field, 2)
    if kind == 'w' then
      m.warm = true
    elseif kind == 'r' or kind == 't' then
      local bucket, n = tonumber(name), tonumber(value)
      if bucket < (kind == 'r' and r0 or t0) then
        m.stale[#m.stale + 1] = field
      elseif n > 0 then
        m[kind][bucket] = n
        if kind == 'r' then m.requests = m.requests + n else m.tokens = m.tokens + n end
      end
    elseif kind == 'h' then
      local tokens, at, lapses = string.match(value, '(%d+) (%d+) (%d+)')
      local hold = { tokens = tonumber(tokens), at = tonumber(at), lapses = tonumber(lapses) }
      if hold.lapses ~= 0 and hold.lapses <= now then
        -- Never confirmed: its server may not even know that it was granted. The request goes back with it.
        m.stale[#m.stale + 1] = field
        local bucket = math.floor(hold.at / SECOND)
        m.lapsed = m.lapsed or {}
        m.lapsed[#m.lapsed + 1] = bucket
      else
        m.holds[name] = hold
        m.reserved = m.reserved + hold.tokens
        m.flight = m.flight + 1
      end
    end
  end
  for _, bucket in ipairs(m.lapsed or {}) do
    if m.r[bucket] then
      m.r[bucket] = m.r[bucket] - 1
      m.requests = m.requests - 1
    end
  end
  return m
end

local function has_ended(turn) return redis.call('EXISTS', key .. ':' .. turn) == 1 end
local function remember(turn, ms) redis.call('SET', key .. ':' .. turn, 1, 'PX', ms) end

-- Writers clean up behind them; readers and refusals leave everything as it is.
local function tidy(m)
  for i = 1, #m.stale, 100 do redis.call('HDEL', key, unpack(m.stale, i, math.min(i + 99, #m.stale))) end
  for _, bucket in ipairs(m.lapsed or {}) do
    if m.r[bucket] then redis.call('HSET', key, 'r' .. bucket, m.r[bucket]) end
  end
  redis.call('PEXPIRE', key, DAY + 2 * QUARTER)
end

-- When `need` more would fit under `limit`, were nothing else to happen; holds count as they stand.
local function fits_at(buckets, used, held, limit, need, window, width)
  local excess = used + held + need - limit
  if excess <= 0 then return 0 end
  local order = {}
  for bucket in pairs(buckets) do order[#order + 1] = bucket end
  table.sort(order)
  for _, bucket in ipairs(order) do
    excess = excess - buckets[bucket]
    if excess <= 0 then return leaves(bucket, window, width) end
  end
  return nil -- only the end of a running turn can make room
end

-- What is left, as every answer tells it: requests used, until all are free; tokens used, held, until some return; turns.
local function picture(m, now)
  local last, first
  for bucket, n in pairs(m.r) do if n > 0 and (not last or bucket > last) then last = bucket end end
  for bucket in pairs(m.t) do if not first or bucket < first then first = bucket end end
  return {
    m.requests, last and leaves(last, MINUTE, SECOND) - now or -1,
    m.tokens, m.reserved, first and leaves(first, DAY, QUARTER) - now or -1,
    m.flight,
  }
end
