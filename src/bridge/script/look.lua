#!lua
-- Tells who is in a room, unless that is known.
-- KEYS: who is there. ARGV: how far that is known.
local mark = redis.call('HGET', KEYS[1], 'm') or ' 0'
if mark == ARGV[1] then return 0 end
return {mark, redis.call('HGETALL', KEYS[1])}
