-- Says that a hold's turn is durable: from now on it stays at its ceiling until it is settled. ARGV: turn.
-- Answers 1, or 0 where there is no such hold.
local hold = redis.call('HGET', KEYS[1], 'h' .. ARGV[1])
if not hold then return 0 end
local tokens, at = string.match(hold, '(%d+) (%d+)')
redis.call('HSET', KEYS[1], 'h' .. ARGV[1], tokens .. ' ' .. at .. ' 0')
return 1
