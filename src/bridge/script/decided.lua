#!lua flags=no-writes
-- The decisions of the operator that a node has not read yet, in their order: the life ('': there are
-- none), then of each its number and what it says.
-- KEYS: in which order they came, what they say, which of them end (not looked at).
-- ARGV: the life, and the number in it, that the node has read up to; how many it takes at a time.
local life = redis.call('HGET', KEYS[2], '')
if not life then return {''} end
local since = '(' .. ARGV[2]
if life ~= ARGV[1] then since = '-inf' end
local found = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local answer = {life}
for i = 1, #found, 2 do
  local said = redis.call('HGET', KEYS[2], found[i]) or ''
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = string.match(said, '^%d* (.*)$') or ''
end
return answer
