#!lua
-- Keeps what a session has, if no other node has it. 1: it is kept; 0: another node has it.
-- KEYS: the session.
-- ARGV: the node, the owner, what it has, how long it is kept in ms, since when the node has it, and how
--       long ago in ms a client came back to it there while nobody could say whose it is ('': none did).
local found = redis.call('HMGET', KEYS[1], 'node', 'since')
local own, since = tonumber(ARGV[5]), tonumber(found[2] or 0)
if found[1] and found[1] ~= ARGV[1] then
  if ARGV[6] ~= '' then
    -- It belongs where the client came last.
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    own = math.max(own, now - tonumber(ARGV[6]))
  end
  -- A server that was set back names one that had it before.
  if own <= since then return 0 end
end
since = string.format('%.0f', math.max(own, since))
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'since', since, 'owner', ARGV[2], 'data', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
