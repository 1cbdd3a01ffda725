#!lua
-- Gives a publication its place in a room, keeps it and tells all who listen. A number: its publisher
-- may publish in so many ms.
-- KEYS: state, history, channel, the publication's own key if it has one, and its publisher's, if they
--       may not publish again for a while.
-- ARGV: epoch seen, offset seen, text of a new epoch, stamp, publication, size of the history in
--       publications and in bytes, how long it is kept, how long the room is, how long the key is, how
--       long the publisher's is (all in ms; 0: there is no such key).
-- The second part of an entry's ID is how many bytes there have been of all up to it; the state says how
-- many there have been at all, and whether there is more to drop (over: 1). So nothing has to be counted
-- when entries go, for whatever reason.

-- Publications are too old by the clock of Redis, and made by that of a node.
local CLOCKS_DIFFER_MS = 60000
-- Places of which what is there is dropped at once, at most.
local TRIM_MAX = 1024

-- When a publication was made, from where `room::wire` writes it; none: that is not known.
local function at_ms(wire)
  if string.byte(wire, 21) ~= 207 then return nil end
  local at = 0
  for _, byte in ipairs({string.byte(wire, 22, 29)}) do at = at * 256 + byte end
  return at
end

-- Drops what is too much or too old, but not the last one; so that nothing else waits, of so many places
-- at most. Whether there may be more (true).
local function trim(last, bytes, bytes_max)
  local time = redis.call('TIME')
  local oldest = time[1] * 1000 - ARGV[8] - CLOCKS_DIFFER_MS
  -- The first place from there on where there is something, and whether that is to go.
  local function look(from)
    local entry = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 1)[1]
    local place, up_to = string.match(entry[1], '^(%d+)-(%d+)$')
    local wire = entry[2][2]
    local is_over = bytes - up_to + #wire > bytes_max or (at_ms(wire) or oldest) < oldest
    place = tonumber(place)
    return place, place < last and is_over
  end
  local goes, is_over = look('-')
  if not is_over then return false end
  -- If something is to go, so is what is before it: all up to `goes` go; none goes at `stays` or behind it.
  local stays = math.min(goes + TRIM_MAX, last)
  local step, is_more = 16, stays < last
  while stays - goes > 1 do
    local from = math.min(goes + step, math.floor((goes + stays) / 2))
    local place, is_over = look(string.format('%.0f', from))
    if is_over and place < stays then
      goes, step = place, step * 2
    else
      stays, is_more = from, is_more and is_over
    end
  end
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', goes + 1))
  return is_more
end

local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'bytes', 'over')
local epoch, offset = state[1], tonumber(state[2] or 0)
local key = ARGV[10] ~= '0' and KEYS[4]
local pace = ARGV[11] ~= '0' and KEYS[#KEYS]
if key then
  local first = redis.call('GET', key)
  if first then
    -- Something is written, so that replicas that are waited for have what was written before it.
    redis.call('PEXPIRE', KEYS[1], ARGV[9])
    local place = string.find(first, ' ', 1, true)
    return {string.sub(first, 1, place - 1), tonumber(string.sub(first, place + 1)), 1, 0}
  end
end
if pace then
  local left = redis.call('PTTL', pace)
  if left > 0 then return left end
end
-- Nearly every publisher has seen the room as it is.
if ARGV[1] ~= epoch or tonumber(ARGV[2]) > offset then
  local number = epoch and tonumber(string.match(epoch, '^%d+')) or 0
  local seen = tonumber(string.match(ARGV[1], '^%d+') or 0)
  local ahead = seen > number or (seen > 0 and seen == number)
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
end
offset = offset + 1
local place = string.format('%.0f', offset)
if ARGV[6] == '0' then
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', place, 'stamp', ARGV[4])
else
  local before, bytes_max = tonumber(state[3] or 0), tonumber(ARGV[7])
  local bytes = before + #ARGV[5]
  local up_to = string.format('%.0f', bytes)
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', place, 'stamp', ARGV[4], 'bytes', up_to)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], place .. '-' .. up_to, 'p', ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[8])
  -- Not each time, so that it costs next to nothing, but for as long as there is more.
  local part, was_over = bytes_max / 8, state[4] == '1'
  if was_over or offset % 16 == 0 or math.floor(bytes / part) > math.floor(before / part) then
    local is_over = trim(offset, bytes, bytes_max)
    if is_over ~= was_over then redis.call('HSET', KEYS[1], 'over', is_over and '1' or '0') end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[9])
if key then redis.call('SET', key, epoch .. ' ' .. place, 'PX', ARGV[10]) end
if pace then redis.call('SET', pace, '', 'PX', ARGV[11]) end
local nodes = redis.call('SPUBLISH', KEYS[3], 'P' .. epoch .. ' ' .. place .. '\n' .. ARGV[5])
return {epoch, offset, 0, nodes}
