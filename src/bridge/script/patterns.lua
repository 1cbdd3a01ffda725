#!lua flags=allow-oom
-- Tells a node what other nodes receive by patterns and which rooms were called, and takes what it
-- receives itself.
-- KEYS: what all receive, until when nodes take part, until when nodes are believed to live, calls.
-- ARGV: node, what it receives ('': as before; '[]': nothing), the list that it knows,
--       the calls that it wants ('': none, 'after' those behind the last, 'live': all that may hold),
--       the last that it has read ('': none), what tells a new list from others, for how long what a node
--       receives holds, and for how long a call does, in ms, and how many calls are kept.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local own = 'n' .. ARGV[1]
-- Another server may lack what the one before it had: then the list is another, and what stands in it
-- holds until all have had the time to say it again.
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local found = redis.call('HMGET', KEYS[1], 'list', 'began', 'changes', 'server')
if not found[1] or found[4] ~= server then
  found = {ARGV[6], now, found[3]}
  redis.call('HSET', KEYS[1], 'list', ARGV[6], 'began', string.format('%.0f', now), 'server', server)
end
local before = tonumber(found[3] or 0)
local changes = before
-- Whoever asks was forgotten, too, if nobody else has asked meanwhile.
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('ZREM', KEYS[2], node)
  changes = changes + redis.call('HDEL', KEYS[1], 'n' .. node)
end
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[7]), ARGV[1])
local had_own = redis.call('HEXISTS', KEYS[1], own)
if ARGV[2] == '[]' then
  changes = changes + redis.call('HDEL', KEYS[1], own)
elseif ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], own, ARGV[2])
  changes = changes + 1
end
if changes ~= before then
  redis.call('HSET', KEYS[1], 'changes', string.format('%.0f', changes))
end
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('PEXPIRE', KEYS[2], 3600000)
local mark = found[1] .. ' ' .. string.format('%.0f', changes)
local others = false
if mark ~= ARGV[3] then
  others = {}
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == 'n' and all[i] ~= own then others[#others + 1] = all[i + 1] end
  end
end
local strangers = 0
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. string.format('%.0f', now), '+inf')) do
  if not redis.call('ZSCORE', KEYS[2], node) then strangers = 1 end
end
local calls, last, is_cut = {}, '0-0', 0
if ARGV[4] ~= '' then
  local newest = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]
  if newest then last = newest[1] end
  local from = string.format('%.0f-0', now - tonumber(ARGV[8]))
  if ARGV[4] == 'after' then from = '(' .. ARGV[5] end
  calls = redis.call('XRANGE', KEYS[4], from, '+')
  if ARGV[5] ~= '' and redis.call('XLEN', KEYS[4]) >= tonumber(ARGV[9])
    and #redis.call('XRANGE', KEYS[4], '-', ARGV[5], 'COUNT', 1) == 0 then
    -- There are too many, and nothing is left of what was read: what came behind it may be gone, too.
    is_cut = 1
  end
end
return {mark, now - tonumber(found[2]), others, had_own, redis.call('ZCARD', KEYS[2]) - 1, strangers, calls, last, is_cut}
