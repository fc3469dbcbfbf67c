-- The net under everything: a thread with unseen events, no wake-up and no holder is queued again.
-- ARGV: thread. Returns: 1 if it was queued.
if redis.call('HGET', KEYS[2], 'queued') == '1' then return 0 end
if tonumber(redis.call('HGET', KEYS[2], 'lease_until') or '0') > server_ms() then return 0 end
if redis.call('LLEN', KEYS[1]) <= tonumber(redis.call('HGET', KEYS[2], 'seen') or '0') then return 0 end
if redis.call('ZSCORE', KEYS[4], ARGV[1] .. '|retry') then return 0 end
wake(ARGV[1])
return 1
