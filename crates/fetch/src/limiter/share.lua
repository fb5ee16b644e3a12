-- One key's calls as all servers see them: a sorted set of
--   c:SERVER:CALL    with the instant from which the call does not count any more,
--   m:SERVER         with the negative instant at which the server was last heard,
--   born:INSTANT     last of all, when this set was begun; another one means that calls were forgotten.
-- Instants are microseconds of Redis's own clock. Lasting less than one step, the script is atomic.
local me, epoch, not_after = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local member, want, first = ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
local calls, hold = tonumber(ARGV[7]), tonumber(ARGV[8])
local share, peers, silence = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local LAST = 9000000000000000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local text = function(number) return string.format('%.0f', number) end

local last = redis.call('ZRANGE', KEYS[1], -1, -1)[1]
local born = last and tonumber(string.match(last, '^born:(%d+)$'))
if not born then
  born = now
  redis.call('DEL', KEYS[1])
  redis.call('ZADD', KEYS[1], LAST, 'born:' .. text(born))
end
local answer = function(verdict, granted, wait)
  redis.call('PEXPIRE', KEYS[1], text(math.ceil((hold + silence) / 500)))
  return { verdict, born, now, granted, math.ceil(wait) }
end
if born ~= epoch then return answer(1, 0, 0) end
-- Its sender has given it up: it must not speak for a server that is on its own by now.
if now > not_after then return answer(2, 0, 0) end

redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. text(silence - now), text(now))
for i = 12, #ARGV, 2 do
  local call, left = 'c:' .. me .. ':' .. ARGV[i], tonumber(ARGV[i + 1])
  if left > 0 then
    redis.call('ZADD', KEYS[1], text(now + left), call)
  else
    redis.call('ZREM', KEYS[1], call)
  end
end
if member then redis.call('ZADD', KEYS[1], text(-now), 'm:' .. me) end
if want <= 0 then return answer(0, 0, 0) end

-- A server that is not heard may be using its share.
local heard = redis.call('ZCOUNT', KEYS[1], '-inf', '(0')
local silent = math.max(0, peers - heard)
-- What was forgotten with an earlier set is over by then, or told again by all.
if silent > 0 and now < born + hold then return answer(0, 0, born + hold - now) end
local allowed = calls - silent * share
local counting = redis.call('ZCOUNT', KEYS[1], 1, '(' .. text(LAST))
local granted = math.max(0, math.min(want, allowed - counting))
for i = 0, granted - 1 do
  redis.call('ZADD', KEYS[1], text(now + hold), 'c:' .. me .. ':' .. text(first + i))
end
local wait = silence
if granted == 0 and allowed > 0 then
  local range = { text(1), '(' .. text(LAST), 'WITHSCORES', 'LIMIT', counting - allowed, 1 }
  local next = redis.call('ZRANGEBYSCORE', KEYS[1], unpack(range))
  if next[2] then wait = tonumber(next[2]) - now end
end
return answer(0, granted, wait)
