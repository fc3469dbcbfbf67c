-- Shared by the scripts below it. Times are milliseconds.
-- KEYS always begin: log, meta, wake, timers, timer_events, threads.

local function server_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- One wake-up at a time: while one is queued, a second would only make a worker look twice.
local function wake(thread_id)
  if redis.call('HGET', KEYS[2], 'queued') ~= '1' then
    redis.call('XADD', KEYS[3], '*', 'thread', thread_id)
    redis.call('HSET', KEYS[2], 'queued', '1')
  end
end

-- Mark the thread as touched: its place in the index, its remaining life, and a nudge for those who watch it.
local function touched(thread_id, length, now, life_seconds)
  redis.call('ZADD', KEYS[6], now, thread_id)
  redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now - life_seconds * 1000)
  redis.call('EXPIRE', KEYS[1], life_seconds)
  redis.call('EXPIRE', KEYS[2], life_seconds)
  redis.call('PUBLISH', KEYS[1], length)
end
