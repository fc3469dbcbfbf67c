-- A wake-up that was read by a worker that stops, and that it did not get to: queued again, for another one to read now.
-- ARGV: thread, group, entry id. Returns: 1 if it was; 0 where it may belong to a lease, which has to run out first.
if tonumber(redis.call('HGET', KEYS[2], 'lease_until') or '0') > server_ms() then return 0 end
if redis.call('XACK', KEYS[3], ARGV[2], ARGV[3]) == 0 then return 1 end
redis.call('XDEL', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[2], 'queued', '0')
wake(ARGV[1])
return 1
