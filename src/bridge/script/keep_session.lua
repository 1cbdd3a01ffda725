#!lua
-- Keeps what a session has, if no other node has it. 1: it is kept; 0: another node has it.
-- KEYS: the session.
-- ARGV: the node, the owner, what it has, how long it is kept in ms, since when the node has it.
local found = redis.call('HMGET', KEYS[1], 'node', 'since')
local own, since = tonumber(ARGV[5]), tonumber(found[2] or 0)
-- A server that was set back names one that had it before.
if found[1] and found[1] ~= ARGV[1] and own <= since then return 0 end
since = string.format('%.0f', math.max(own, since))
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'since', since, 'owner', ARGV[2], 'data', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
