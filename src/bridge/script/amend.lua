#!lua
-- Decides something about a room, if it is still as it was known, and tells all who listen.
-- KEYS: what has been decided, channel, state, history.
-- ARGV: how far it is known, text of a new life, how long it is kept in ms (0: for good),
--       manner (0: sets some of it, 1: is all of it, 2: ends the room), what all are told,
--       then for each field: its name, its value ('': there is none any more).
local mark = redis.call('HGET', KEYS[1], 'm') or ' 0'
if mark ~= ARGV[1] then return 0 end
local life, number = string.match(mark, '^(%S*) (%d+)$')
if life == '' then life = ARGV[2] end
mark = string.format('%s %.0f', life, tonumber(number) + 1)
if ARGV[4] ~= '0' then redis.call('DEL', KEYS[1]) end
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'm', mark)
if ARGV[3] == '0' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
redis.call('SPUBLISH', KEYS[2], 'D' .. mark .. '\n' .. ARGV[5])
if ARGV[4] == '2' then
  -- Whoever comes next begins a life of it that nobody has seen.
  local epoch = redis.call('HGET', KEYS[3], 'epoch')
  local last = epoch and tonumber(string.match(epoch, '^%d+')) or 0
  epoch = string.format('%.0f.', last + 1) .. ARGV[2]
  redis.call('DEL', KEYS[4])
  redis.call('HSET', KEYS[3], 'epoch', epoch, 'offset', '0', 'stamp', '')
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
return mark
