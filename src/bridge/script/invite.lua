#!lua
-- Notes that a user is invited to a room, and tells the nodes where they are.
-- KEYS: what they are invited to, the user's channel.
-- ARGV: the room, what is known of it, how many are kept at most, and for how long in ms.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) then
  for _, other in ipairs(redis.call('HRANDFIELD', KEYS[1], 2)) do
    if other ~= ARGV[1] then
      redis.call('HDEL', KEYS[1], other)
      break
    end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SPUBLISH', KEYS[2], 'I\n' .. ARGV[2])
return 1
