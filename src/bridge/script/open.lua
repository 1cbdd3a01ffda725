#!lua
-- Tells a home how a room is and what it has not seen of it.
-- KEYS: state, history, channel, how far users have come.
-- ARGV: epoch seen, offset seen, text of a new epoch, stamp seen, how much to trust the server
--       (0: it is as it was; 1: what was seen is looked for, and must be there),
--       whether what was seen is wanted, too (1), how many publications are, and bytes of them; up to
--       which offset ('+': the last, and this is the first page; later ones are of the epoch that it told,
--       and only read), how long the room is kept in ms, how long the fourth key is.
-- It tells the newest first, a few more than those bytes hold, and at last whether there may be more (1).
local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'stamp')
local epoch, offset, stamp = state[1], tonumber(state[2] or 0), state[3] or ''
local is_later = ARGV[9] ~= '+'
-- The life that the first page was of has ended.
if is_later and epoch ~= ARGV[1] then return {epoch or '', offset, stamp, {}, 0} end
local number = epoch and tonumber(string.match(epoch, '^%d+')) or 0
local seen = tonumber(string.match(ARGV[1], '^%d+') or 0)
local from = tonumber(ARGV[2])
local ahead = not is_later and (seen > number
  or (seen > 0 and seen == number and (ARGV[1] ~= epoch or from > offset)))
if not is_later and not ahead and seen > 0 and seen == number and from > 0 and ARGV[4] ~= '' then
  -- Two servers that were one may have gone different ways from the same place.
  local there = nil
  if from == offset then
    there = stamp
  else
    local place = string.format('%.0f', from)
    local entry = redis.call('XRANGE', KEYS[2], place, place)[1]
    there = entry and string.sub(entry[2][2], 2, 19)
  end
  ahead = there ~= ARGV[4] and (there ~= nil or ARGV[5] == '1')
end
if not epoch or ahead then
  epoch = string.format('%.0f.', math.max(number, seen) + 1) .. ARGV[3]
  offset, stamp = 0, ''
  redis.call('DEL', KEYS[2])
  if ahead then
    offset = 1
    redis.call('SPUBLISH', KEYS[3], 'E' .. epoch .. ' 1\n')
  end
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', tostring(offset), 'stamp', '')
end
if not is_later then
  redis.call('PEXPIRE', KEYS[1], ARGV[10])
  redis.call('PEXPIRE', KEYS[4], ARGV[11])
end
local entries, last, first, is_more = {}, ARGV[9], '-', 1
if ARGV[1] == epoch and ARGV[6] ~= '1' then first = string.format('%.0f', from + 1) end
local count, bytes = tonumber(ARGV[7]), tonumber(ARGV[8])
while is_more == 1 and count > 0 and bytes > 0 do
  local some = math.min(8, count)
  local found = redis.call('XREVRANGE', KEYS[2], last, first, 'COUNT', some)
  for _, entry in ipairs(found) do
    entries[#entries + 1] = entry
    count, bytes = count - 1, bytes - #entry[2][2]
    last = string.format('%.0f', tonumber(string.match(entry[1], '^%d+')) - 1)
  end
  if #found < some then is_more = 0 end
end
return {epoch, offset, stamp, entries, is_more}
