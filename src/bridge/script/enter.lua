#!lua flags=allow-oom
-- Counts a connection of a user, if there may be one more, or counts it no longer.
-- KEYS: the user's connections, by node and time of its link and place there: when they were told, and since
--       when they are there.
-- ARGV: this connection, for how long it has been there in ms ('': it has gone), how many there may be (0: any
--       number), whether the oldest goes then, the place on its node that it takes ('': none), for how long one
--       whose node is not known counts in ms, how long all of it is kept in ms, whether all nodes that live are
--       known (1), then the links of these.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local links = {}
for i = 9, #ARGV do
  local node, link = string.match(ARGV[i], '^(%x+)%.(%d+)$')
  links[node] = tonumber(link)
end
local own, own_link, own_place = string.match(ARGV[1], '^(%x+)%.(%d+) (.+)$')
local count, oldest, since = 0, '', math.huge
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local node, link, place = string.match(all[i], '^(%x+)%.(%d+) (.+)$')
  local told, at = string.match(all[i + 1], '^(%d+) (%d+)$')
  told, at = tonumber(told), tonumber(at)
  -- What was said over an earlier link may come after what was said over a later one.
  if ARGV[2] ~= '' and node == own and place == own_place and tonumber(link) > tonumber(own_link) then
    return ''
  end
  local known = node and links[node]
  local is_void = not node or not told or (known and known > tonumber(link))
    -- The same one, over whichever link it was told, or the one before it.
    or (node == own and (place == own_place or place == ARGV[5]))
  local is_strange = not is_void and not known and now - told > tonumber(ARGV[6])
  if is_void or (is_strange and ARGV[8] == '1') then
    redis.call('HDEL', KEYS[1], all[i])
  elseif not is_strange then
    count = count + 1
    if at < since then oldest, since = all[i], at end
  end
end
if ARGV[2] == '' then return 1 end
local most, displaced = tonumber(ARGV[3]), ''
if most > 0 and count >= most then
  if ARGV[4] ~= '1' then return 0 end
  displaced = oldest
  redis.call('HDEL', KEYS[1], displaced)
end
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. (now - tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return displaced
