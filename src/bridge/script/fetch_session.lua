#!lua
-- Makes a session a node's. Empty: it is nobody's, or not that owner's; a node and since when it has it:
-- that has to let go first; else the node that had it, what it has, and since when it is this node's: later
-- than it was any other's, by the server's clock.
-- KEYS: the session. ARGV: the node, the owner, how long it is kept in ms, the node that was asked and
--       is asked no more (empty: none was), and since when it had the session then.
local found = redis.call('HMGET', KEYS[1], 'node', 'owner', 'data', 'since')
if not found[1] or found[2] ~= ARGV[2] then return {} end
local was = tonumber(found[4] or 0)
local is_passed_over = found[1] == ARGV[4] and was == tonumber(ARGV[5])
if found[1] ~= ARGV[1] and not is_passed_over then return {found[1], was} end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local since = math.max(now, was + 1)
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'since', string.format('%.0f', since))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {found[1], found[3], since}
