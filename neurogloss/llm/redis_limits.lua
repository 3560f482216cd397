-- Reports what a process has seen of a model, and grants it calls; see redis_limits.py.
--
-- KEYS[1]: state of the model's limits, JSON.   KEYS[2]: calls in flight, a hash of JSON by process.
-- KEYS[3]: claims of calls, a hash of processes by identity.
-- ARGV[1]: what the process reports and asks for, JSON.
-- Returns {calls granted, seconds until the next ("-1": when a call ends), limit of calls in flight
-- for the model, 1 if the process may replace calls that end by itself, identities of the calls to
-- claim that another process has}.

-- Half a second of burst and one percent of reserve; redis_limits.py says why.
local BURST_S, PACE = 0.5, 0.99
-- Calls in flight: where they begin, and the factors by which they shrink and grow.
local FIRST_LIMIT, CUT, GROWTH = 20, 0.8, 1.05
-- One burst of refusals is one reason to cut, and server errors are a reason not to grow for a while.
local CUT_EVERY_S, NO_GROWTH_S = 15, 5
-- A limit that the server named holds so long after it was named last.
local CEILING_S = 600

local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] - 1.7e9 + time[2] / 1e6  -- JSON keeps 14 digits: with these, microseconds
local state = cjson.decode(redis.call('GET', KEYS[1]) or '{}')

-- In flight elsewhere, of this model and of all models of the endpoint, and the demand of everyone.
local my_demand = ask.in_flight + ask.waiting
local of_model = {in_flight = 0, demand = my_demand}
local of_all = {in_flight = 0, demand = my_demand}
local processes = redis.call('HGETALL', KEYS[2])
local is_alive, has_died = {[ask.process] = true}, false
for i = 1, #processes, 2 do
  local name, other = processes[i], cjson.decode(processes[i + 1])
  if other.expires < now then
    redis.call('HDEL', KEYS[2], name)
    has_died = true
  elseif name ~= ask.process then
    is_alive[name] = true
    for _, sum in ipairs(other.model == ask.model and {of_model, of_all} or {of_all}) do
      sum.in_flight = sum.in_flight + other.in_flight
      sum.demand = sum.demand + other.in_flight + other.waiting
    end
  end
end

-- Claims: first those end whose process has, then those that this one releases.
if has_died then
  local claims = redis.call('HGETALL', KEYS[3])
  for i = 1, #claims, 2 do
    if not is_alive[claims[i + 1]] then redis.call('HDEL', KEYS[3], claims[i]) end
  end
end
for _, call in ipairs(ask.released) do
  if redis.call('HGET', KEYS[3], call) == ask.process then redis.call('HDEL', KEYS[3], call) end
end
local elsewhere = {}
for _, call in ipairs(ask.claims) do
  local holder = redis.call('HGET', KEYS[3], call)
  if holder and holder ~= ask.process and is_alive[holder] then
    elsewhere[#elsewhere + 1] = call
  else
    redis.call('HSET', KEYS[3], call, ask.process)
  end
end

-- Adapt the limit of calls in flight. It grows only where most of it was in use.
local limit = math.min(state.limit or FIRST_LIMIT, ask.max_in_flight)
local cut_until, no_growth_until = state.cut_until or 0, state.no_growth_until or 0
local clean, peak = state.clean or 0, state.peak or 0
if ask.refused > 0 then
  if now >= cut_until then
    limit = math.max(1, limit * CUT)
    cut_until = now + math.max(CUT_EVERY_S, ask.blocked_s)
  end
  state.steady, clean, peak = true, 0, 0
elseif ask.failed > 0 then
  no_growth_until, clean, peak = now + NO_GROWTH_S, 0, 0
elseif now >= math.max(cut_until, no_growth_until) then
  clean = clean + ask.answered
  peak = math.max(peak, of_model.in_flight + ask.in_flight)
  if clean >= limit then
    if peak >= 0.8 * limit then
      local grown = state.steady and math.max(limit + 1, limit * GROWTH) or limit * 2
      limit = math.min(ask.max_in_flight, grown)
    end
    clean, peak = 0, 0
  end
end

-- Fill the buckets. Without a limit, a rate is 0 and its bucket is not asked.
local rate, level, burst = {}, {}, {}
state.ceilings = state.ceilings or {}
for kind, configured in pairs(ask.per_second) do
  if ask.ceilings[kind] > 0 then
    state.ceilings[kind] = {per_second = ask.ceilings[kind], expires = now + CEILING_S}
  end
  rate[kind] = configured
  local ceiling = state.ceilings[kind]
  if ceiling and ceiling.expires > now then
    rate[kind] = configured > 0 and math.min(configured, ceiling.per_second) or ceiling.per_second
  end
  rate[kind] = rate[kind] * PACE
  burst[kind] = math.max(1, rate[kind] * BURST_S)
  local before = state[kind] or burst[kind]
  local returned = kind == 'tokens' and ask.refund or 0
  local filled = before + returned + (now - (state.at or now)) * rate[kind]
  level[kind] = math.min(burst[kind], filled)
end

-- Grant from the front of the queue. What is larger than the burst waits for a full bucket.
local blocked_until = math.max(state.blocked_until or 0, now + ask.blocked_s)
local slots = math.huge
for sum, most in pairs({[of_model] = math.floor(limit), [of_all] = ask.max_in_flight}) do
  local share = math.max(1, math.ceil(most * my_demand / sum.demand))
  slots = math.min(slots, math.min(share, most - sum.in_flight) - ask.in_flight)
end
local granted, wait = 0, math.max(0, blocked_until - now)
local short = function(kind, amount)
  if rate[kind] == 0 then return 0 end
  return math.max(0, math.min(amount, burst[kind]) - level[kind]) / rate[kind]
end
for _, tokens in ipairs(wait == 0 and ask.needs or {}) do
  if granted >= slots then
    wait = -1
    break
  end
  wait = math.max(short('requests', 1), short('tokens', tokens))
  if wait > 0 then break end
  level.requests, level.tokens = level.requests - 1, level.tokens - tokens
  granted = granted + 1
end

-- Remember. An hour without calls starts anew.
state.at, state.limit, state.blocked_until = now, limit, blocked_until
for kind in pairs(rate) do state[kind] = rate[kind] > 0 and level[kind] or nil end
state.cut_until, state.no_growth_until = cut_until, no_growth_until
state.clean, state.peak = clean, peak
redis.call('SET', KEYS[1], cjson.encode(state), 'EX', 3600)
local mine = {
  model = ask.model, in_flight = ask.in_flight + granted, waiting = ask.waiting - granted,
  expires = now + ask.alive_s}
if mine.in_flight + mine.waiting > 0 or ask.holds then
  redis.call('HSET', KEYS[2], ask.process, cjson.encode(mine))
  redis.call('EXPIRE', KEYS[2], 3600)
  redis.call('EXPIRE', KEYS[3], 3600)
else
  redis.call('HDEL', KEYS[2], ask.process)
end
local has_rates = rate.requests > 0 or rate.tokens > 0
local keeps_turns = not has_rates and slots >= 0 and now >= blocked_until
return {granted, tostring(wait), math.floor(limit), keeps_turns and 1 or 0, elsewhere}
