#!lua
-- Gives a publication its place in a room, keeps it and tells all who listen.
-- KEYS: state, history, channel, and the publication's own key if it has one.
-- ARGV: epoch seen, offset seen, text of a new epoch, stamp, publication, size of the history,
--       how long the history is kept, how long the room is, how long the key is (all in ms).
local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
local epoch, offset = state[1], tonumber(state[2] or 0)
if KEYS[4] then
  local first = redis.call('GET', KEYS[4])
  if first then
    -- Something is written, so that replicas that are waited for have what was written before it.
    redis.call('PEXPIRE', KEYS[1], ARGV[8])
    local place = string.find(first, ' ', 1, true)
    return {string.sub(first, 1, place - 1), tonumber(string.sub(first, place + 1)), 1, 0}
  end
end
local number = epoch and tonumber(string.match(epoch, '^%d+')) or 0
local seen = tonumber(string.match(ARGV[1], '^%d+') or 0)
local ahead = seen > number
  or (seen > 0 and seen == number and (ARGV[1] ~= epoch or tonumber(ARGV[2]) > offset))
if not epoch or ahead then
  epoch = string.format('%.0f.', math.max(number, seen) + 1) .. ARGV[3]
  offset = 0
  redis.call('DEL', KEYS[2])
  if ahead then
    -- The first place is taken by no publication, so that everyone can be told of it.
    offset = 1
    redis.call('SPUBLISH', KEYS[3], 'E' .. epoch .. ' 1\n')
  end
end
offset = offset + 1
local place = string.format('%.0f', offset)
redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', place, 'stamp', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[8])
if ARGV[6] ~= '0' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], place .. '-0', 'p', ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
if KEYS[4] then
  redis.call('SET', KEYS[4], epoch .. ' ' .. place, 'PX', ARGV[9])
end
local nodes = redis.call('SPUBLISH', KEYS[3], 'P' .. epoch .. ' ' .. place .. '\n' .. ARGV[5])
return {epoch, offset, 0, nodes}
