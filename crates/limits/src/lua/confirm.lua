-- Says that a hold's call is written down where it survives us: from now on it stays at its ceiling until it is settled. Then: call.
-- Answers 1, or 0 where there is no such hold, or none any more.
local name = 'h:' .. ARGV[rest + 1]
local hold = redis.call('HGET', key, name)
if not hold then return 0 end
local amount, at, lapses = string.match(hold, '(%d+) (%d+) (%d+)')
if lapses ~= '0' then
  if tonumber(lapses) <= now then return 0 end
  redis.call('HSET', key, name, amount .. ' ' .. at .. ' 0')
  local kept = {}
  for ms, call in string.gmatch(redis.call('HGET', key, 'p') or '', '(%d+) (%S+)') do
    if call ~= ARGV[rest + 1] then kept[#kept + 1] = ms .. ' ' .. call end
  end
  if #kept > 0 then redis.call('HSET', key, 'p', table.concat(kept, '\n')) else redis.call('HDEL', key, 'p') end
end
return 1
