-- Admits a call in all windows, or refuses it and writes nothing.
-- Own arguments: lapse_ms, limit of concurrent calls, then per window its limit, input, output_min and output_max. The call itself is the
-- input of a window over calls: 1, 0, 0.
-- Replies "g" now, amount reserved per window over an amount, meters | "d" now, wait for concurrency, wait per window, meters
-- | "r" if the call is running | "c" rebuild_epoch if the meters are cold.
-- A wait is in milliseconds: 0 if the call fits, -1 if only the end of a running call can make room.
if not is_warm then return cold() end
local before = get(call)
if before then
  local _, _, state = parse(@@HOLD_FORMAT@@, before)
  if state ~= @@LAPSED@@ then return 'r' end
end
local lapse_ms, max_in_flight, demands = parse('<dd', numbers, rest)
local fits, position = in_flight < max_in_flight, demands
for i = 1, window_count do
  local w, limit, input, output_min, output = windows[i], nil, nil, nil, nil
  limit, input, output_min, output, position = parse('<dddd', numbers, position)
  local room = limit - w.sum - w.held - input
  if room < output then output = room end
  if output < output_min then fits = false end
  w.granted = input + output
end

if not fits then
  local waits = pack('<d', in_flight < max_in_flight and 0 or -1)
  position = demands
  for i = 1, window_count do
    local w, limit, input, output_min, _ = windows[i], nil, nil, nil, nil
    limit, input, output_min, _, position = parse('<dddd', numbers, position)
    local excess, wait = w.sum + w.held + input + output_min - limit, -1
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

in_flight, next_expiry_ms = in_flight + 1, math.min(next_expiry_ms, now + lapse_ms)
if not before then unconfirmed = unconfirmed + 1 end
local reserved = ''
for i = 1, window_count do
  local w = windows[i]
  if w.calls then
    add(w, floor(now / w.width), 1)
  else
    w.held, reserved = w.held + w.granted, reserved .. pack(@@AMOUNT_FORMAT@@, w.granted)
  end
end
set(call, pack(@@HOLD_FORMAT@@, now, now + lapse_ms, @@PENDING@@) .. reserved)
return pack('<c1d', 'g', now) .. reserved .. write()
