#!lua flags=allow-oom
-- Tells what has been decided about a room, unless that is known.
-- KEYS: what has been decided. ARGV: how far that is known, how long it is kept in ms.
local mark = redis.call('HGET', KEYS[1], 'm') or ' 0'
-- What is kept for good stays so.
if redis.call('PTTL', KEYS[1]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if mark == ARGV[1] then return 0 end
return {mark, redis.call('HGETALL', KEYS[1])}
