-- Admits a call in all windows, or refuses it and writes nothing.
-- Own arguments: input, output_min, output_max, lapse_ms, limit of concurrent calls, one limit per window.
-- Replies "g" now, output, meters | "d" now, wait for concurrency, wait per window, meters | "r" if the call is running
-- | "c" rebuild_epoch if the meters are cold.
-- A wait is in milliseconds: 0 if the call fits, -1 if only the end of a running call can make room.
if not is_warm then return cold() end
local before = get(call)
if before then
  local _, _, _, state = parse(@@HOLD_FORMAT@@, before)
  if state ~= @@LAPSED@@ then return 'r' end
end
local input, output_min, output_max, lapse_ms, max_in_flight, at = parse('<ddddd', numbers, rest)
local limits, output, fits = at, output_max, in_flight < max_in_flight
for i = 1, window_count do
  local w, limit = windows[i], nil
  limit, at = parse('<d', numbers, at)
  local room = limit - w.sum - (w.calls and 1 or held + input)
  if w.calls then
    fits = fits and room >= 0
  elseif room < output then
    output = room
  end
end

if not fits or output < output_min then
  local waits = pack('<d', in_flight < max_in_flight and 0 or -1)
  for i = 1, window_count do
    local w, limit = windows[i], nil
    limit, limits = parse('<d', numbers, limits)
    local excess, wait = w.sum + (w.calls and 1 or held + input + output_min) - limit, -1
    if excess <= 0 then
      wait = 0
    elseif w.sum > 0 then
      for bucket, n in used_buckets(w, w.first) do
        excess = excess - n
        if excess <= 0 then
          wait = (bucket + 1) * w.width + w.span - now
          break
        end
      end
    end
    waits = waits .. pack('<d', wait)
  end
  return pack('<c1d', 'd', now) .. waits .. meters()
end

held, in_flight, next_expiry_ms = held + input + output, in_flight + 1, math.min(next_expiry_ms, now + lapse_ms)
if not before then unconfirmed = unconfirmed + 1 end
set(call, pack(@@HOLD_FORMAT@@, input + output, now, now + lapse_ms, @@PENDING@@))
for i = 1, window_count do
  local w = windows[i]
  if w.calls then add(w, floor(now / w.width), 1) end
end
return pack('<c1dd', 'g', now, output) .. write()
