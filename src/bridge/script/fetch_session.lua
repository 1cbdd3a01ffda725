#!lua
-- Makes a session a node's. Empty: it is nobody's, or not that owner's; the node alone: that has it,
-- and has to let go first; else the node that had it, what it has, and since when it is this node's: later
-- than it was any other's, by the server's clock.
-- KEYS: the session. ARGV: the node, the owner, how long it is kept in ms, the node that was asked and
--       is asked no more (empty: none was).
local found = redis.call('HMGET', KEYS[1], 'node', 'owner', 'data', 'since')
if not found[1] or found[2] ~= ARGV[2] then return {} end
if found[1] ~= ARGV[1] and found[1] ~= ARGV[4] then return {found[1]} end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local since = math.max(now, tonumber(found[4] or 0) + 1)
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'since', string.format('%.0f', since))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {found[1], found[3], since}
