#!lua
-- Notes how far users have come in a room, if it still has the life in which they have.
-- KEYS: how far users have come, state, history.
-- ARGV: epoch, how long it is kept in ms, of how many users at most,
--       then for each user: their field, where they began, up to where they have acknowledged
--       ('': they want nothing any more), up to where they were sent ('+': all; with a '-' before it:
--       they have not joined; '-' alone: they are no member any more, and go unless they have joined).
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if epoch ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[1], 'e') ~= epoch then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'e', epoch)
end
local most = tonumber(ARGV[3])
local function is_full()
  if redis.call('HLEN', KEYS[1]) <= most then return false end
  -- Some of those go of whose history something is gone.
  local first = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
  first = tonumber(first and string.match(first[1], '^%d+')
    or redis.call('HGET', KEYS[2], 'offset'))
  local some = redis.call('HRANDFIELD', KEYS[1], 64, 'WITHVALUES')
  for i = 1, #some, 2 do
    local acknowledged = string.match(some[i + 1], '^%d+ (%d+) ')
    if acknowledged and tonumber(acknowledged) + 1 < first then
      redis.call('HDEL', KEYS[1], some[i])
    end
  end
  return redis.call('HLEN', KEYS[1]) > most
end
for i = 4, #ARGV, 4 do
  local field, began, acknowledged, sent = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local old = redis.call('HGET', KEYS[1], field)
  if acknowledged == '' then
    if sent == '' or (old and string.find(old, ' %-')) then redis.call('HDEL', KEYS[1], field) end
  else
    if old then
      local b, a, s = string.match(old, '^(%d+) (%d+) (%S+)$')
      local own, from = tonumber(acknowledged), tonumber(began)
      if s == '-0' then
        -- Of the homes that tell where a member begins, some know it later than others.
        if from < tonumber(b) then b = began end
        if from < tonumber(a) then a = began end
      end
      if own <= from or own < tonumber(a) then acknowledged = a end
      began = b
      if sent == '-0' then
        -- Who has never come to that node may have come to another.
        acknowledged, sent = a, s
      end
      local sign, up_to = string.match(sent, '^(%-?)(%d*)')
      local before = string.match(s, '%d+')
      if up_to ~= '' and before and tonumber(before) > tonumber(up_to) then sent = sign .. before end
    end
    if old or not is_full() then
      redis.call('HSET', KEYS[1], field, began .. ' ' .. acknowledged .. ' ' .. sent)
    end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
