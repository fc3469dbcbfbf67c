-- Append events, all or nothing.
-- KEYS[7..]: delivery ids, refused if one was seen.
-- ARGV: thread, expect (-1: any length), fence (-1: from outside), known (-1: return no tail), now, life s, seen life s,
--       max length (-1: none), number of events, events…, number of timers, (name, at, event)…
-- Returns: outcome, length, events after `known`.
local thread, expect, fence, known = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now, life, seen_life, max = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local count = tonumber(ARGV[9])
local length = redis.call('LLEN', KEYS[1])

local function answer(outcome)
  local tail = {}
  if known >= 0 then tail = redis.call('LRANGE', KEYS[1], known, -1) end
  return {outcome, redis.call('LLEN', KEYS[1]), tail}
end

if fence >= 0 and tonumber(redis.call('HGET', KEYS[2], 'fence') or '0') ~= fence then return answer('fenced') end
for i = 7, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return answer('duplicate') end
end
if expect >= 0 and length ~= expect then return answer('stale') end
if max >= 0 and length + count > max then return answer('full') end

for i = 1, count do redis.call('RPUSH', KEYS[1], ARGV[9 + i]) end
for i = 7, #KEYS do redis.call('SET', KEYS[i], '1', 'EX', seen_life) end
local at = 10 + count
for i = 1, tonumber(ARGV[at]) do
  local base = at + (i - 1) * 3
  local field = thread .. '|' .. ARGV[base + 1]
  redis.call('ZADD', KEYS[4], ARGV[base + 2], field)
  redis.call('HSET', KEYS[5], field, ARGV[base + 3])
end
-- The holder of the lease goes on by itself, and its unacknowledged wake-up stands if it dies.
if fence < 0 then wake(thread) end
touched(thread, length + count, now, life)
return answer('appended')
