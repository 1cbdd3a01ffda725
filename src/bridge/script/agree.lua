#!lua flags=allow-oom
-- Says in which form the nodes here write. It rises by one once nobody has needed the present one for
-- long enough, and does not fall. A node whose range does not hold it changes nothing.
-- KEYS: the form. ARGV: the oldest and the newest form of the node, what it knows to be in force
--       (0: nothing), how long the form stays after a node that knows no newer one, in ms.
local oldest, newest, known = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found = redis.call('HMGET', KEYS[1], 'form', 'needed')
-- A server that has lost something learns from whoever was there.
local form = math.max(tonumber(found[1] or 0), known)
if form == 0 then form = oldest end
if form < oldest or form > newest then return form end
local needed = tonumber(found[2] or now)
if newest == form or form ~= tonumber(found[1]) then
  needed = now
elseif now - needed > tonumber(ARGV[4]) then
  form, needed = form + 1, now
end
if form ~= tonumber(found[1]) or needed ~= tonumber(found[2]) then
  redis.call('HSET', KEYS[1], 'form', string.format('%.0f', form), 'needed', string.format('%.0f', needed))
end
return form
