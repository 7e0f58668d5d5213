-- Rebuilds cold or broken meters from the history; does nothing to warm ones. Own arguments per past call: at, amount, 1 if it is
-- running; the fields of their holds follow as further ARGV. The ticket is passed instead of a hold's field.
-- Replies "y", or "n" if the ticket shows that the meters were lost again since the history was read.
if warm then return 'y' end
if redis.call('HGET', key, 'ticket') ~= call then return 'n' end
redis.call('DEL', key)
have = setmetatable({}, { __index = function() return false end })
changed = {}
held, flight, loose, wakes, expires = 0, 0, 0, @@NEVER@@, 0
for _, w in ipairs(windows) do w.sum, w.first, w.last = 0, 0, 0 end
for i = 4, #ARGV do
  local at, amount, runs
  at, amount, runs, rest = parse('<ddd', numbers, rest)
  for _, w in ipairs(windows) do
    if w.calls then
      count(w, floor(at / w.width), 1)
    elseif runs == 0 then
      count(w, floor(at / w.width), amount)
    end
  end
  if runs == 1 then
    set(ARGV[i], pack(@@HOLD_FORMAT@@, amount, at, 0, @@CONFIRMED@@))
    held, flight = held + amount, flight + 1
  end
end
write()
return 'y'
