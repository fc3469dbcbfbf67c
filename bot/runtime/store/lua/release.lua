-- Let go of the lease. Look again if the log has grown past what was seen, or if somebody was turned away meanwhile.
-- ARGV: thread, group, entry id, fence, seen (events looked at), retry at ms (0: none; else come back then).
if tonumber(redis.call('HGET', KEYS[2], 'fence') or '0') ~= tonumber(ARGV[4]) then return 0 end
local contended = redis.call('HGET', KEYS[2], 'contended') == '1'
redis.call('XACK', KEYS[3], ARGV[2], ARGV[3])
redis.call('XDEL', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[2], 'lease_until', '0', 'contended', '0', 'seen', ARGV[5])
if tonumber(ARGV[6]) > 0 then
  -- Not seen after all: it failed, perhaps in the middle of a send (so the next holder counts as recovering), and a
  -- timer without an event brings it back.
  redis.call('HSET', KEYS[2], 'seen', '0', 'lease_until', '1')
  redis.call('HINCRBY', KEYS[2], 'crashes', 1)
  redis.call('ZADD', KEYS[4], ARGV[6], ARGV[1] .. '|retry')
  return 1
end
redis.call('HDEL', KEYS[2], 'crashes')
if contended or redis.call('LLEN', KEYS[1]) > tonumber(ARGV[5]) then wake(ARGV[1]) end
return 1
