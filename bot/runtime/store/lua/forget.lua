-- A worker's name goes, unless something is on its list: that would be gone with it.
-- KEYS: wake. ARGV: group, consumer. Returns: 1 if it went.
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
