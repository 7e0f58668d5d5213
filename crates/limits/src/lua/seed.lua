-- Builds cold or broken meters from the history; does nothing to warm ones. Then per past call: id, at_ms, amount, 1 where it still
-- runs. Answers 1.
if read() then return 1 end
redis.call('DEL', key)
have = setmetatable({}, { __index = function() return false end })
dirty = {}
local m = { held = 0, flight = 0, pending = {}, had = 0 }
for _, w in ipairs(windows) do w.sum, w.first, w.last = 0, nil, nil end
for i = rest + 1, #ARGV, 4 do
  local call, at, amount, runs = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3] == '1'
  for _, w in ipairs(windows) do
    if w.calls then
      count(w, bucket_of(w, at), 1)
    elseif not runs then
      count(w, bucket_of(w, at), amount)
    end
  end
  if runs then
    set('h:' .. call, whole(amount) .. ' ' .. whole(at))
    m.held, m.flight = m.held + amount, m.flight + 1
  end
end
write(m)
return 1
