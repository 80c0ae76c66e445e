/**
 * The arithmetic of limits as Lua, for Redis 6 and later: the same as in window.ts, calendar.ts and
 * spend.ts, in integers, by the time of Redis. A script runs alone, so what it checks is still so
 * when it charges.
 *
 * An account is two keys: its state and, for places and reservations, a sorted set of who holds what
 * until when. State is `held|rest`: the sum that is reserved, then `sub,amount,last;…` for a window,
 * `start,used` for a calendar period, `level,filled` for a bucket.
 */

/** Longer than any reservation lives; what would be empty by then is forgotten. */
const KEPT_MS = 120_000

const COMMON = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(number)
  return string.format('%.0f', number)
end

local function split(key)
  local raw = redis.call('GET', key)
  if not raw then return 0, '' end
  local held, rest = string.match(raw, '^(%d+)|(.*)$')
  return tonumber(held) or 0, rest or ''
end

local function add(account, amount, at)
  if amount <= 0 then return end
  local sub = math.floor(at / account.width)
  local index = #account.groups
  while index > 0 and account.groups[index][1] >= sub do index = index - 1 end
  local group = account.groups[index + 1]
  account.used = account.used + amount
  if group and group[1] == sub then
    group[2] = group[2] + amount
    if at > group[3] then group[3] = at end
  else
    table.insert(account.groups, index + 1, {sub, amount, at})
  end
end

local function forget(account)
  local groups, limit, window = account.groups, account.limit, account.window
  local newest = groups[#groups]
  if newest and account.used > limit * 16 then
    local windows = math.min(math.floor((now - newest[3]) / window), math.floor(account.used / limit) - 1)
    if windows >= 16 then
      local left, at = account.used - windows * limit, newest[3] + windows * window
      account.groups, account.used = {}, 0
      add(account, left, at)
      groups = account.groups
    end
  end
  while groups[1] and groups[1][3] + window <= now do
    local group = table.remove(groups, 1)
    local debt = math.min(group[2], math.max(0, account.used - limit))
    account.used = account.used - group[2]
    add(account, debt, group[3] + window)
  end
end

-- The clock went back: what was used later than now was used now, so that it lasts one window more.
local function turn_back(account)
  local groups, moved = account.groups, 0
  while #groups > 0 and groups[#groups][3] > now do
    moved = moved + table.remove(groups)[2]
  end
  account.used = account.used - moved
  add(account, moved, now)
end

local function open_window(account, rest)
  account.width = math.max(1, math.ceil(account.window / 10))
  account.groups, account.used = {}, 0
  for sub, amount, last in string.gmatch(rest, '(%d+),(%d+),(%d+)') do
    table.insert(account.groups, {tonumber(sub), tonumber(amount), tonumber(last)})
    account.used = account.used + tonumber(amount)
  end
  turn_back(account)
  forget(account)
end

local function open_period(account, rest)
  local p = account.periods
  local at = 3
  while at > 1 and now < p[at] do at = at - 1 end
  account.start, account.finish, account.used = p[at], p[at + 1], 0
  local start, used = string.match(rest, '(%d+),(%d+)')
  if not start then return end
  account.used = tonumber(used)
  local passed = account.start - tonumber(start)
  -- The clock went back into the period before: still the later one. By more, it is this one's.
  if passed < 0 and tonumber(start) <= account.finish then
    account.start = tonumber(start)
  elseif passed > 0 then
    local length = account.finish - account.start
    local periods = math.max(1, math.floor(passed / length + 0.5))
    account.used = math.max(0, account.used - periods * account.limit)
  end
end

local function open_bucket(account, rest)
  local full = account.burst * account.window
  local level, filled = string.match(rest, '(%d+),(%d+)')
  account.level = full
  if level then
    local passed = math.max(0, now - tonumber(filled))
    account.level = math.min(full, tonumber(level) + passed * account.limit)
  end
  account.filled = now
end

-- Gives back what nobody has renewed.
local function expire(account)
  local late = redis.call('ZRANGEBYSCORE', account.holders, '-inf', now)
  for _, member in ipairs(late) do
    local amount = tonumber(string.match(member, ':(%d+)$') or '0')
    account.held = math.max(0, account.held - amount)
  end
  if #late > 0 then redis.call('ZREMRANGEBYSCORE', account.holders, '-inf', now) end
end

-- After a clock that went back by far, what nobody renews would be held until it has caught up.
local function shorten(account, life)
  local far = redis.call('ZRANGEBYSCORE', account.holders, text(now + 2 * life + 1000), '+inf', 'LIMIT', 0, 500)
  for _, member in ipairs(far) do redis.call('ZADD', account.holders, 'XX', text(now + life), member) end
end

local function open(index, written)
  local kind, limit, window, burst, p1, p2, p3, p4, need, spent = string.match(written,
    '^(%a+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),?(%d*)$')
  local account = {
    state = KEYS[index * 2 - 1], holders = KEYS[index * 2], kind = kind, limit = tonumber(limit),
    window = tonumber(window), need = tonumber(need), spent = tonumber(spent), burst = tonumber(burst),
    periods = {tonumber(p1), tonumber(p2), tonumber(p3), tonumber(p4)}, used = 0, held = 0
  }
  if account.kind == 'slots' then
    redis.call('ZREMRANGEBYSCORE', account.holders, '-inf', now)
    account.used = redis.call('ZCARD', account.holders)
    return account
  end
  local held, rest = split(account.state)
  account.held = held
  if held > 0 then expire(account) end
  if account.kind == 'bucket' then open_bucket(account, rest)
  elseif account.periods[1] > 0 then open_period(account, rest)
  else open_window(account, rest) end
  return account
end

local function save(account)
  local rest, kept = '', ${KEPT_MS}
  if account.kind == 'bucket' then
    rest = text(account.level) .. ',' .. text(account.filled)
    kept = kept + math.ceil(account.burst * account.window / account.limit)
  elseif account.periods[1] > 0 then
    rest = text(account.start) .. ',' .. text(account.used)
    kept = kept + (account.finish - now) + math.ceil(account.used / account.limit) * account.window
  else
    local parts = {}
    for index, group in ipairs(account.groups) do
      parts[index] = text(group[1]) .. ',' .. text(group[2]) .. ',' .. text(group[3])
    end
    rest = table.concat(parts, ';')
    kept = kept + (math.ceil(account.used / account.limit) + 1) * account.window
  end
  redis.call('SET', account.state, text(account.held) .. '|' .. rest, 'PX', text(math.min(kept, 4e12)))
end

-- Until no more than room is used, milliseconds; -1 when it is not known.
local function wait_for(account, room)
  local over = account.used - room
  if over <= 0 then return 0 end
  if account.kind == 'slots' then return -1 end
  if account.periods[1] > 0 then
    local more = math.ceil(over / account.limit) - 1
    return math.max(1, account.finish - now) + math.max(0, more) * (account.finish - account.start)
  end
  local windows = math.ceil(math.max(0, account.used - account.limit) / account.limit)
  over = over - windows * account.limit
  local left = now
  for _, group in ipairs(account.groups) do
    left = group[3] + account.window
    over = over - group[2]
    if over <= 0 then break end
  end
  return math.max(1, left - now) + windows * account.window
end
`

/**
 * Checks all accounts, then charges all; a refusal charges nothing.
 *
 * KEYS: state and holders of each account. ARGV: lease id, its life (ms), the last moment at which
 * this may still happen (ms, 0 is any), then each account as `kind,limit,window,burst,`, the starts of
 * four calendar periods (0 where there are none) and `need`. Answers `-1,now` when it is too late, else
 * `refused,now,used,held,wait,reset,…`, the last four for each account; `refused` is 0 or 1, and `wait`
 * is 0 for accounts that would let the call pass.
 */
export const RESERVE = `${COMMON}
local life = tonumber(ARGV[2])
if tonumber(ARGV[3]) > 0 and now > tonumber(ARGV[3]) then return '-1,' .. text(now) end
local accounts, refused, answer = {}, 0, {0, text(now)}
for index = 1, #KEYS / 2 do
  local account = open(index, ARGV[3 + index])
  local wait = 0
  if account.kind == 'bucket' then
    local missing = account.window - account.level
    if missing > 0 then wait = math.ceil(missing / account.limit) end
  elseif account.need > 0 and account.used + account.held + account.need > account.limit then
    wait = wait_for(account, account.limit - account.need)
    if wait == 0 then wait = -1 end
    if account.kind == 'slots' or account.held > 0 then shorten(account, life) end
  end
  if wait ~= 0 then refused = 1 end
  account.wait = wait
  accounts[index] = account
end
for index, account in ipairs(accounts) do
  if refused == 0 then
    if account.kind == 'slots' then
      redis.call('ZADD', account.holders, text(now + life), ARGV[1])
      redis.call('PEXPIRE', account.holders, ${KEPT_MS})
      account.used = account.used + 1
    elseif account.kind == 'spend' then
      if account.need > 0 then
        account.held = account.held + account.need
        redis.call('ZADD', account.holders, text(now + life), ARGV[1] .. ':' .. text(account.need))
        redis.call('PEXPIRE', account.holders, ${KEPT_MS})
      end
      save(account)
    elseif account.kind == 'bucket' then
      account.level = math.max(0, account.level - account.window)
      save(account)
    else
      if account.periods[1] > 0 then account.used = account.used + 1 else add(account, 1, now) end
      save(account)
    end
  end
  local reset = 0
  if account.kind == 'bucket' then
    local full = account.burst * account.window
    account.used = account.burst - math.floor(account.level / account.window)
    if account.level < full then
      reset = math.ceil(math.min(full - account.level, account.window - account.level % account.window) / account.limit)
    end
  elseif account.used > 0 then
    reset = wait_for(account, math.min(account.used, account.limit) - 1)
  end
  table.insert(answer, text(account.used))
  table.insert(answer, text(account.held))
  table.insert(answer, text(account.wait))
  table.insert(answer, text(reset))
end
answer[1] = refused
return table.concat(answer, ',')
`

/**
 * Gives back places and reservations of one lease and charges what was spent; doing it again changes
 * nothing. KEYS: the lease's mark, then state and holders of each account. ARGV: lease id, when it was
 * granted if the call is to be as if it had never been (ms, else 0), then each account as in RESERVE with
 * what was reserved as its `need`, and `,` with what was spent.
 */
export const SETTLE = `
local mark = table.remove(KEYS, 1)
${COMMON}
-- Takes one request back out of the tenth of the window, or the period, it was counted in.
local function take_back(account, at)
  if account.kind == 'bucket' then
    account.level = math.min(account.burst * account.window, account.level + account.window)
  elseif account.periods[1] > 0 then
    if at >= account.start then account.used = math.max(0, account.used - 1) end
  else
    local sub = math.floor(at / account.width)
    for index, group in ipairs(account.groups) do
      if group[1] == sub then
        group[2], account.used = group[2] - 1, account.used - 1
        if group[2] <= 0 then table.remove(account.groups, index) end
        return
      end
    end
  end
end

local first = redis.call('SET', mark, '1', 'NX', 'PX', 600000)
local undone = tonumber(ARGV[2])
for index = 1, #KEYS / 2 do
  local account = open(index, ARGV[2 + index])
  if account.kind == 'slots' then
    redis.call('ZREM', account.holders, ARGV[1])
  elseif account.kind == 'spend' then
    local reserved, spent = text(account.need), account.spent
    if redis.call('ZREM', account.holders, ARGV[1] .. ':' .. reserved) == 1 then
      account.held = math.max(0, account.held - account.need)
    end
    if first and spent > 0 then
      spent = math.min(spent, 4e15 - account.used)
      if account.periods[1] > 0 then account.used = account.used + spent else add(account, spent, now) end
    end
    save(account)
  elseif first and undone > 0 then
    take_back(account, undone)
    save(account)
  end
end
return 1
`

/**
 * Keeps what leases of one tenant hold for another while. KEYS: holders. ARGV: how long (ms), then for
 * each key the member. Places come back when Redis has lost them, reservations do not: they are
 * charged in full when their call ends.
 */
export const RENEW = `
local time = redis.call('TIME')
local till = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
for index, key in ipairs(KEYS) do
  local member = ARGV[index + 1]
  if string.find(member, ':', 1, true) then redis.call('ZADD', key, 'XX', till, member)
  else redis.call('ZADD', key, till, member) end
  redis.call('PEXPIRE', key, ${KEPT_MS})
end
return 1
`

/**
 * Counts sidecars: KEYS[1] is the set, ARGV the own id and how long it is believed (ms). Answers how
 * many there are.
 */
export const PRESENT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
`
