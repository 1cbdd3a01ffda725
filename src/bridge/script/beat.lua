#!lua flags=allow-oom
-- A node says that it lives, and hears of all others.
-- KEYS: until when nodes are believed to live, what they say of themselves.
-- ARGV: node, for how long to believe it in ms, what it says ('': that it ends),
--       how long nodes that are no more are remembered in ms.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  return {}
end
-- Whether it was not there: then all that it has told may be lost.
local all = {redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])}
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[4]))) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('HDEL', KEYS[2], node)
end
local nodes = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #nodes, 2 do
  local says = redis.call('HGET', KEYS[2], nodes[i]) or ''
  all[#all + 1] = {nodes[i], tonumber(nodes[i + 1]) > now and 1 or 0, says}
end
return all
