-- Keep the lease, and keep the wake-up from looking abandoned.
-- ARGV: thread, group, entry id, lease ms, fence, consumer. Returns: the log's length, or -1 if the lease is lost.
if tonumber(redis.call('HGET', KEYS[2], 'fence') or '0') ~= tonumber(ARGV[5]) then return -1 end
redis.call('HSET', KEYS[2], 'lease_until', server_ms() + tonumber(ARGV[4]))
redis.call('XCLAIM', KEYS[3], ARGV[2], ARGV[6], 0, ARGV[3], 'JUSTID')
return redis.call('LLEN', KEYS[1])
