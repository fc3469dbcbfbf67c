-- Take the lease of a thread whose wake-up was read.
-- ARGV: thread, group, entry id, lease ms, own (1: the entry was fresh, 0: taken over).
-- Returns: fence (0: somebody holds it), recovered (1: the holder before did not release).
local now = server_ms()
local until_ms = tonumber(redis.call('HGET', KEYS[2], 'lease_until') or '0')
if until_ms > now then
  -- A fresh wake-up for a thread that is being driven: its holder looks again when it lets go. One that was taken over
  -- may be the holder's own and must stay, or nobody would notice the holder's death.
  if ARGV[5] == '1' then
    redis.call('HSET', KEYS[2], 'contended', '1', 'queued', '0')
    redis.call('XACK', KEYS[3], ARGV[2], ARGV[3])
    redis.call('XDEL', KEYS[3], ARGV[3])
  end
  return {0, 0}
end
-- Cleared before the load: what arrives from here on queues a wake-up of its own.
redis.call('HSET', KEYS[2], 'queued', '0', 'contended', '0', 'lease_until', now + tonumber(ARGV[4]), 'entry', ARGV[3])
return {redis.call('HINCRBY', KEYS[2], 'fence', 1), until_ms > 0 and 1 or 0}
