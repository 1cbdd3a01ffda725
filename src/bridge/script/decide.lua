#!lua
-- Notes a decision of the operator behind all others, for every node to read. 1: it is noted; 0: too
-- many hold.
-- KEYS: in which order they came, what they say, which of them end, and when.
-- ARGV: what it is about, what it says, until when in Unix ms ('': for good; '0': for as long as what it
--       takes the place of), how many may hold, text of a new life,
--       how many that have run out go at once.
-- What one says begins with until when, and a space; the life is what is said of nothing.
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function stands(said)
  local ends = string.match(said, '^%d*')
  return ends == '' or tonumber(ends) * 1000 > now_us
end
local was = redis.call('HGET', KEYS[2], ARGV[1])
local ends = ARGV[3]
if ends == '0' then
  -- A node that knows what was lifted, and not that it was, has to hear of it for as long.
  ends = was and stands(was) and string.match(was, '^%d*')
  ends = ends or string.format('%.0f', now_us / 1000 + 86400000)
end
local most = tonumber(ARGV[4])
if not was and redis.call('ZCARD', KEYS[1]) >= most then
  -- So many at a time, because nobody else is served meanwhile.
  local now_ms = string.format('%.0f', math.floor(now_us / 1000))
  local over = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now_ms, 'LIMIT', 0, ARGV[6])
  for _, about in ipairs(over) do
    redis.call('ZREM', KEYS[1], about)
    redis.call('HDEL', KEYS[2], about)
    redis.call('ZREM', KEYS[3], about)
  end
  if redis.call('ZCARD', KEYS[1]) >= most then return 0 end
end
if not redis.call('HGET', KEYS[2], '') then redis.call('HSET', KEYS[2], '', ARGV[5]) end
-- Later than all others, whatever the clock says.
local last = redis.call('ZRANGE', KEYS[1], 0, 0, 'REV', 'WITHSCORES')[2]
local number = math.max(now_us, tonumber(last or '0') + 1)
redis.call('ZADD', KEYS[1], string.format('%.0f', number), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ends .. ' ' .. ARGV[2])
if ends == '' then
  redis.call('ZREM', KEYS[3], ARGV[1])
else
  redis.call('ZADD', KEYS[3], ends, ARGV[1])
end
return 1
