#!lua
-- Notes that a room is about to be published in.
-- KEYS: calls.
-- ARGV: the node that publishes, tenant, room, its epoch ('': not known), its last offset, how many calls are kept at most,
--       and for how long in ms.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], '*', 'n', ARGV[1],
  't', ARGV[2], 'r', ARGV[3], 'e', ARGV[4], 'o', ARGV[5])
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', now - tonumber(ARGV[7])))
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return 1
