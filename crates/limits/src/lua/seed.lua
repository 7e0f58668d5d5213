-- Rebuilds cold or broken meters from the history; does nothing to warm ones. Own arguments per past call: at_ms, 1 if it is running,
-- the amount per window over an amount; the fields of their holds follow as further ARGV. `rebuild_epoch` is passed instead of a hold's
-- field.
-- Replies "s". If the meters were lost again since the history was read, they stay cold, which the next step finds.
if is_warm then return 's' end
if redis.call('HGET', key, 'rebuild_epoch') ~= call then return 's' end
redis.call('DEL', key)
fields = setmetatable({}, { __index = function() return false end })
changed = {}
in_flight, unconfirmed, next_expiry_ms, expires_at_ms = 0, 0, @@NEVER@@, 0
for _, w in ipairs(windows) do w.sum, w.first, w.last, w.held = 0, 0, 0, 0 end
for i = 4, #ARGV do
  local at_ms, is_running, reserved = nil, nil, ''
  at_ms, is_running, rest = parse('<dd', numbers, rest)
  for _, w in ipairs(windows) do
    if w.calls then
      add(w, floor(at_ms / w.width), 1)
    else
      local amount
      amount, rest = parse('<d', numbers, rest)
      if is_running == 1 then
        w.held, reserved = w.held + amount, reserved .. pack(@@AMOUNT_FORMAT@@, amount)
      else
        add(w, floor(at_ms / w.width), amount)
      end
    end
  end
  if is_running == 1 then
    set(ARGV[i], pack(@@HOLD_FORMAT@@, at_ms, 0, @@CONFIRMED@@) .. reserved)
    in_flight = in_flight + 1
  end
end
write()
return 's'
