#!lua
-- Gives a publication its place in a room, keeps it and tells all who listen. A number: its publisher
-- may publish in so many ms.
-- KEYS: state, history, channel, the publication's own key if it has one, and its publisher's, if they
--       may not publish again for a while.
-- ARGV: epoch seen, offset seen, text of a new epoch, stamp, publication, size of the history in
--       publications and in bytes, how long it is kept, how long the room is, how long the key is, how
--       long the publisher's is (all in ms; 0: there is no such key).
-- What is in the stream stands in the state: its bytes, and since when its first entry is there.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'bytes', 'since')
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
redis.call('PEXPIRE', KEYS[1], ARGV[9])
if ARGV[6] ~= '0' then
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  redis.call('XADD', KEYS[2], string.format('%s-%.0f', place, now), 'p', ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[8])
  local count = redis.call('XLEN', KEYS[2])
  local bytes, since = tonumber(state[3] or 0) + #ARGV[5], tonumber(state[4] or now)
  -- The one before may have run out.
  if count == 1 then bytes, since = #ARGV[5], now end
  local count_max, bytes_max, age_max = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
  local function is_over(part)
    return count > count_max + count_max * part or bytes > bytes_max + bytes_max * part
      or now - since > age_max + age_max * part
  end
  -- The oldest go once there is an eighth too much, so that it is not asked for them each time; a
  -- few at a time, so that nothing else waits.
  if count > 1 and is_over(1 / 8) then
    local gone = nil
    for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 32)) do
      local offset, at = string.match(entry[1], '^(%d+)-(%d+)$')
      since = tonumber(at)
      if count == 1 or not is_over(0) then break end
      gone, count, bytes = tonumber(offset), count - 1, bytes - #entry[2][2]
    end
    if gone then redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', gone + 1)) end
  end
  redis.call('HSET', KEYS[1], 'bytes', string.format('%.0f', bytes),
    'since', string.format('%.0f', since))
end
if key then redis.call('SET', key, epoch .. ' ' .. place, 'PX', ARGV[10]) end
if pace then redis.call('SET', pace, '', 'PX', ARGV[11]) end
local nodes = redis.call('SPUBLISH', KEYS[3], 'P' .. epoch .. ' ' .. place .. '\n' .. ARGV[5])
return {epoch, offset, 0, nodes}
