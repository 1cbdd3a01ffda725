#!lua flags=allow-oom
-- Deletes a temporary room that nobody follows any more. 1: it is gone; 0: it stays;
-- 2: nobody listens, but a node that may live has said that somebody is there.
-- KEYS: state, history, channel, who is there, what has been decided, how far users have
--       come.
-- ARGV: the node that asks, which has left the room, whether it knows all nodes that live (1), and has
--       asked before (2), these.
-- Whoever comes listens first and asks then: so they are counted, or find nothing and begin another life.
if redis.call('PTTL', KEYS[5]) == -1 then return 0 end
if redis.call('PUBSUB', 'SHARDNUMSUB', KEYS[3])[2] ~= 0 then return 0 end
-- While Redis moves a slot, those who are there may not be heard listening; but they have said so.
-- Who has said it in another life of that only, has had the time to say it again.
local life = ' ' .. (string.match(redis.call('HGET', KEYS[4], 'm') or '', '^%S+') or '')
local lives = {}
for i = 3, #ARGV do lives['n' .. ARGV[i]] = true end
local all = redis.call('HGETALL', KEYS[4])
for i = 1, #all, 2 do
  local is_node = string.sub(all[i], 1, 1) == 'n' and all[i] ~= 'n' .. ARGV[1]
    and string.sub(all[i + 1], 1, 1) ~= '-'
  local holds = lives[all[i]] and (ARGV[2] ~= '2' or string.find(all[i + 1], life, 1, true))
  if is_node and (holds or ARGV[2] == '0') then return 2 end
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6])
return 1
