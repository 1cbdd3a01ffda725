#!lua flags=allow-oom
-- Forgets what a node has said of who is in a room, and tells all who listen; whoever asks for it
-- first does it, and the others find nothing.
-- KEYS: who is there, channel. ARGV: node, a life in which it has said nothing ('': whichever), its link if
--       it takes back what it has said itself ('': others have found that it is no more).
local field = 'n' .. ARGV[1]
local said, mark = unpack(redis.call('HMGET', KEYS[1], field, 'm'))
if not mark then return 0 end
local life, number = string.match(mark, '^(%S+) (%d+)$')
local count, link, said_in = string.match(said or '', '^(%S+) (%d+) (.*)$')
if ARGV[3] == '' then
  if not said or said_in == ARGV[2] then return 0 end
  redis.call('HDEL', KEYS[1], field)
else
  if said and tonumber(link) > tonumber(ARGV[3]) then return 0 end
  -- What it has said over an earlier link may come yet.
  redis.call('HSET', KEYS[1], field, '- ' .. ARGV[3] .. ' ' .. life)
  if not said or count == '-' then return 0 end
end
mark = string.format('%s %.0f', life, tonumber(number) + 1)
local own = ARGV[1] .. ':'
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local line = string.find(all[i + 1], '\n', 1, true)
  if string.sub(all[i], 1, 1) == 'u' and line then
    local nodes, found = string.gsub(string.sub(all[i + 1], 1, line - 1), own .. '%d+ ', '')
    if found > 0 and nodes == '' then
      redis.call('HDEL', KEYS[1], all[i])
    elseif found > 0 then
      redis.call('HSET', KEYS[1], all[i], nodes .. string.sub(all[i + 1], line))
    end
  end
end
redis.call('HSET', KEYS[1], 'm', mark)
redis.call('SPUBLISH', KEYS[2], 'G' .. mark .. '\n' .. ARGV[1])
return 1
