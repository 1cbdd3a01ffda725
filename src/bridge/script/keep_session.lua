#!lua
-- Keeps what a session has, if no other node has it. 1: it is kept; 0: another node has it.
-- KEYS: the session. ARGV: the node, the owner, what it has, how long it is kept in ms.
local node = redis.call('HMGET', KEYS[1], 'node')[1]
if node and node ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'owner', ARGV[2], 'data', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
