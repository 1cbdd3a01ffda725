#!lua flags=allow-oom
-- Tells who is in a room, unless that is known.
-- KEYS: who is there. ARGV: how far that is known, text of a new life, and how long it is kept from now on in
--       ms: nobody says again who stays.
local mark = redis.call('HGET', KEYS[1], 'm')
if mark then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  -- Another server may lack what the one before it has told: its steps are of another life, in which
  -- nodes have to say again who is there.
  local server = string.sub(string.match(redis.call('INFO', 'server'), 'run_id:(%w+)'), -16)
  if string.sub(mark, 1, 16) ~= server then
    mark = server .. ARGV[2] .. string.match(mark, ' %d+$')
    redis.call('HSET', KEYS[1], 'm', mark)
  end
end
mark = mark or ' 0'
if mark == ARGV[1] then return 0 end
return {mark, redis.call('HGETALL', KEYS[1])}
