#!lua
-- Keeps what a node says of who is in a room, and tells all who listen. Its answer is how far that goes.
-- KEYS: who is there, channel.
-- ARGV: node, its link, text of a new life, how long it is kept in ms, its connections of nobody, all of
--       this as it is told, then for each user: who, connections ('': not there any more),
--       whether they have said something, what.
-- A user's field says on which nodes they are, with how many connections; then what they have said.
-- A node's says how many connections of nobody it has ('-': it has taken all back), over which link it has
-- said so, and in which life.
local said = redis.call('HGET', KEYS[1], 'n' .. ARGV[1])
-- What was said over an earlier link may come after what was said over a later one.
if said and tonumber(string.match(said, ' (%d+) ')) > tonumber(ARGV[2]) then return 0 end
local mark = redis.call('HGET', KEYS[1], 'm')
local life, number
if mark then
  life, number = string.match(mark, '^(%S+) (%d+)$')
else
  -- A life begins with what tells its server from others.
  local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  life, number = string.sub(server, -16) .. ARGV[3], 0
end
mark = string.format('%s %.0f', life, tonumber(number) + 1)
local own = ARGV[1] .. ':'
for i = 7, #ARGV, 4 do
  local field = 'u' .. ARGV[i]
  local was = redis.call('HGET', KEYS[1], field) or '\n'
  local line = string.find(was, '\n', 1, true)
  -- What nobody who speaks here has written is written over.
  if not line then was, line = '\n', 1 end
  local nodes = string.gsub(string.sub(was, 1, line - 1), own .. '%d+ ', '')
  local info = string.sub(was, line + 1)
  if ARGV[i + 1] ~= '' then nodes = nodes .. own .. ARGV[i + 1] .. ' ' end
  if ARGV[i + 2] == '1' then info = ARGV[i + 3] end
  if nodes == '' then
    redis.call('HDEL', KEYS[1], field)
  else
    redis.call('HSET', KEYS[1], field, nodes .. '\n' .. info)
  end
end
redis.call('HSET', KEYS[1], 'm', mark, 'n' .. ARGV[1],
  ARGV[5] .. ' ' .. ARGV[2] .. ' ' .. life)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SPUBLISH', KEYS[2], 'S' .. mark .. '\n' .. ARGV[1] .. ARGV[6])
return mark
