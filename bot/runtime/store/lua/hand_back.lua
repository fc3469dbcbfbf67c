-- A wake-up that was read by a worker that stops, and that it did not get to: queued again, for another one to read now.
-- ARGV: thread, group, entry id, consumer. Returns: 1 if it is off that worker's list; 0 where it is that of the worker's
-- own lease, which has to run out first.
local pending = redis.call('XPENDING', KEYS[3], ARGV[2], ARGV[3], ARGV[3], 1)
if #pending == 0 or pending[1][2] ~= ARGV[4] then return 1 end
local held = tonumber(redis.call('HGET', KEYS[2], 'lease_until') or '0') > server_ms()
if held and redis.call('HGET', KEYS[2], 'entry') == ARGV[3] then return 0 end
redis.call('XACK', KEYS[3], ARGV[2], ARGV[3])
redis.call('XDEL', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[2], 'queued', '0')
-- Whoever drives the thread looks again on letting go, as in claim.
if held then redis.call('HSET', KEYS[2], 'contended', '1') else wake(ARGV[1]) end
return 1
