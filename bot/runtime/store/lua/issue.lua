-- Gives a request its code on one address. KEYS: codes. ARGV: now (ms), life (ms), entry (JSON: post, request, end), candidates.
-- Codes that have run out make room first; the same request keeps the code that it has.
local now, life = tonumber(ARGV[1]), tonumber(ARGV[2])
local wanted = cjson.decode(ARGV[3])
local known = redis.call('HGETALL', KEYS[1])
for at = 1, #known, 2 do
  local entry = cjson.decode(known[at + 1])
  if tonumber(entry[3]) <= now then
    redis.call('HDEL', KEYS[1], known[at])
  elseif entry[2] == wanted[2] then
    return known[at]
  end
end
for at = 4, #ARGV do
  if redis.call('HSETNX', KEYS[1], ARGV[at], ARGV[3]) == 1 then
    if redis.call('PTTL', KEYS[1]) < life then
      redis.call('PEXPIRE', KEYS[1], life)
    end
    return ARGV[at]
  end
end
return redis.error_reply('no code is free')
