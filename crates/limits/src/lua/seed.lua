-- Builds cold or broken meters from the history; does nothing to warm ones. Then: remember_ms, and per past call: id, at_ms, amount, 1 where it
-- still runs. Answers 1.
local keep_ms = tonumber(ARGV[rest + 1])
local m = read()
if m.warm then return 1 end
redis.call('DEL', key)
m = read()
redis.call('HSET', key, 'w', 1)
for i = rest + 2, #ARGV, 4 do
  local call, at, amount, runs = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3] == '1'
  for _, w in ipairs(windows) do
    if w.calls then
      count(w, at, 1)
    elseif not runs then
      count(w, at, amount)
    end
  end
  if runs then
    redis.call('HSET', key, 'h:' .. call, whole(amount) .. ' ' .. whole(at) .. ' 0')
    m.held, m.flight = m.held + amount, m.flight + 1
  elseif at >= now - keep_ms then
    -- Recorded but perhaps not settled yet: the settlement that is on its way must not count it again.
    remember(call, keep_ms)
  end
end
write(m)
return 1
