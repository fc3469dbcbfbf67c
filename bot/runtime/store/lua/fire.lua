-- A timer is due: append its event and wake the thread, or drop it where it means nothing any more.
-- ARGV: thread, field, expect (-1: any length), now, life s, keep (1: append, 0: drop). Returns: 1 fired, 0 not any more, -1 stale.
local due = redis.call('ZSCORE', KEYS[4], ARGV[2])
if not due or tonumber(due) > tonumber(ARGV[4]) then return 0 end
local length = redis.call('LLEN', KEYS[1])
if tonumber(ARGV[3]) >= 0 and length ~= tonumber(ARGV[3]) then return -1 end
local event = redis.call('HGET', KEYS[5], ARGV[2])
redis.call('ZREM', KEYS[4], ARGV[2])
redis.call('HDEL', KEYS[5], ARGV[2])
if ARGV[6] ~= '1' then return 0 end
if event then
  redis.call('RPUSH', KEYS[1], event)
  touched(ARGV[1], length + 1, tonumber(ARGV[4]), tonumber(ARGV[5]))
end
wake(ARGV[1])
return 1
