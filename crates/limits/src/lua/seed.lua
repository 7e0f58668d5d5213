-- Rebuilds cold or broken meters from the history; does nothing to warm ones. Own arguments per past call: at, amount, 1 if it is
-- running; the fields of their holds follow as further ARGV. `rebuild_epoch` is passed instead of a hold's field.
-- Replies "s". If the meters were lost again since the history was read, they stay cold, which the next step finds.
if is_warm then return 's' end
if redis.call('HGET', key, 'rebuild_epoch') ~= call then return 's' end
redis.call('DEL', key)
fields = setmetatable({}, { __index = function() return false end })
changed = {}
held, in_flight, unconfirmed, next_expiry_ms, expires_at_ms = 0, 0, 0, @@NEVER@@, 0
for _, w in ipairs(windows) do w.sum, w.first, w.last = 0, 0, 0 end
for i = 4, #ARGV do
  local at, amount, is_running
  at, amount, is_running, rest = parse('<ddd', numbers, rest)
  for _, w in ipairs(windows) do
    if w.calls then
      add(w, floor(at / w.width), 1)
    elseif is_running == 0 then
      add(w, floor(at / w.width), amount)
    end
  end
  if is_running == 1 then
    set(ARGV[i], pack(@@HOLD_FORMAT@@, amount, at, 0, @@CONFIRMED@@))
    held, in_flight = held + amount, in_flight + 1
  end
end
write()
return 's'
