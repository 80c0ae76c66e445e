/**
 * The arithmetic of limits as Lua, for Redis 6 and later: the same as in window.ts, calendar.ts and
 * spend.ts, in integers, by the time of Redis. A script runs alone, so what it checks is still so
 * when it charges.
 *
 * An account is one or two keys: its state and, for places and reservations, a sorted set of who holds
 * what until when; places have no state. State is `held|rest`: the sum that is reserved, then `sub,amount,last;…` for a window,
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

local function read(plan)
  local at, rest = string.match(plan, '^(%d+)(.*)$')
  local accounts, key = {}, tonumber(at)
  for kind, limit, window, burst, p1, p2, p3, p4 in string.gmatch(rest,
    ';(%a+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+)') do
    local account = {
      kind = kind, limit = tonumber(limit), window = tonumber(window), burst = tonumber(burst),
      periods = {tonumber(p1), tonumber(p2), tonumber(p3), tonumber(p4)}
    }
    if kind ~= 'slots' then
      account.state = KEYS[key]
      key = key + 1
    end
    if kind == 'slots' or kind == 'spend' then
      account.holders = KEYS[key]
      key = key + 1
    end
    accounts[#accounts + 1] = account
  end
  return accounts
end

local function open(account)
  account.used, account.held = 0, 0
  if account.kind == 'slots' then
    redis.call('ZREMRANGEBYSCORE', account.holders, '-inf', now)
    account.used = redis.call('ZCARD', account.holders)
    return
  end
  local held, rest = split(account.state)
  account.held = held
  if held > 0 and account.holders then expire(account) end
  if account.kind == 'bucket' then open_bucket(account, rest)
  elseif account.periods[1] > 0 then open_period(account, rest)
  else open_window(account, rest) end
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
 * Runs any number of calls, one after the other: each reserves or settles. A call that reserves checks
 * all its accounts, then charges all; a refusal charges nothing. One that settles gives back places and
 * reservations of a lease and charges what was spent; doing it again changes nothing.
 *
 * KEYS: those of every plan, `state`, `holders` or both of each account, and the marks of leases that
 * are to be charged once. ARGV[1]: life of a lease (ms), then the last moment at which anything may be
 * reserved (ms). ARGV[2]: a line for each plan, the index of its first key and, each after a `;`, its
 * accounts as `kind,limit,window,burst` and the starts of four calendar periods (0 where there are none).
 * ARGV[3]: a line for each call, `r`, the index of its plan, the lease id, then what it needs of each
 * `spend`; or `s`, plan, lease id, when it was granted if the call is to be as if it had never been (ms,
 * else 0), the index of its mark (0 for none), then for each `spend` what was reserved and what was spent.
 *
 * Answers the time, then for each call that reserves `;`, 0, 1 if it is refused, -1 if it was too late
 * or -2 if what is kept of it is of no use, and for the first two `,used,wait,reset` for each account:
 * `wait` is 0 for accounts that would let the call pass, -1 when it is not known.
 */
export const CALLS = `${COMMON}
local life, latest = string.match(ARGV[1], '^(%d+),(%d+)$')
life, latest = tonumber(life), tonumber(latest)
local plans = {}
for plan in string.gmatch(ARGV[2], '[^\\n]+') do plans[#plans + 1] = read(plan) end

local function check(account)
  if account.kind == 'bucket' then
    local missing = account.window - account.level
    return missing > 0 and math.ceil(missing / account.limit) or 0
  end
  if account.need <= 0 or account.used + account.held + account.need <= account.limit then return 0 end
  local wait = wait_for(account, account.limit - account.need)
  if account.kind == 'slots' or account.held > 0 then shorten(account, life) end
  return wait == 0 and -1 or wait
end

local function charge(account, id)
  if account.kind == 'slots' then
    redis.call('ZADD', account.holders, text(now + life), id)
    redis.call('PEXPIRE', account.holders, ${KEPT_MS})
    account.used = account.used + 1
    return
  end
  if account.kind == 'spend' then
    if account.need > 0 then
      account.held = account.held + account.need
      redis.call('ZADD', account.holders, text(now + life), id .. ':' .. text(account.need))
      redis.call('PEXPIRE', account.holders, ${KEPT_MS})
    end
  elseif account.kind == 'bucket' then
    account.level = math.max(0, account.level - account.window)
  elseif account.periods[1] > 0 then
    account.used = account.used + 1
  else
    add(account, 1, now)
  end
  save(account)
end

local function reset_of(account)
  if account.kind == 'bucket' then
    local full = account.burst * account.window
    account.used = account.burst - math.floor(account.level / account.window)
    if account.level >= full then return 0 end
    return math.ceil(math.min(full - account.level, account.window - account.level % account.window) / account.limit)
  end
  if account.used <= 0 then return 0 end
  return wait_for(account, math.min(account.used, account.limit) - 1)
end

local function reserve(accounts, id, numbers)
  if now > latest then return '-1' end
  local refused = 0
  for _, account in ipairs(accounts) do
    account.need = account.kind == 'spend' and tonumber(numbers()) or 1
    open(account)
    account.wait = check(account)
    if account.wait ~= 0 then refused = 1 end
  end
  local answer = {refused}
  for _, account in ipairs(accounts) do
    if refused == 0 then charge(account, id) end
    local reset = reset_of(account)
    answer[#answer + 1] = text(account.used + account.held)
    answer[#answer + 1] = text(account.wait)
    answer[#answer + 1] = text(reset)
  end
  return table.concat(answer, ',')
end

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

local function settle_spend(account, id, figures)
  local reserved, spent, first = figures.reserved, figures.spent, figures.first
  if redis.call('ZREM', account.holders, id .. ':' .. text(reserved)) == 1 then
    account.held = math.max(0, account.held - reserved)
  end
  if first and spent > 0 then
    spent = math.min(spent, 4e15 - account.used)
    if account.periods[1] > 0 then account.used = account.used + spent else add(account, spent, now) end
  end
end

local function settle(accounts, id, numbers)
  local undone, mark = tonumber(numbers()), tonumber(numbers())
  local first = mark > 0 and redis.call('SET', KEYS[mark], '1', 'NX', 'PX', 600000)
  for _, account in ipairs(accounts) do
    if account.kind == 'slots' then
      redis.call('ZREM', account.holders, id)
    elseif account.kind == 'spend' then
      local reserved, spent = tonumber(numbers()), tonumber(numbers())
      open(account)
      settle_spend(account, id, {reserved = reserved, spent = spent, first = first})
      save(account)
    elseif first and undone > 0 then
      open(account)
      take_back(account, undone)
      save(account)
    end
  end
end

local answers = {text(now)}
for call in string.gmatch(ARGV[3], '[^\\n]+') do
  local kind, plan, id, rest = string.match(call, '^(%a),(%d+),([^,]+)(.*)$')
  local run = kind == 'r' and reserve or settle
  local ok, said = pcall(run, plans[tonumber(plan)], id, string.gmatch(rest, '%d+'))
  if not ok then
    local message = type(said) == 'table' and said.err or tostring(said)
    -- Somebody else wrote to the keys of one caller: no matter of the others. All else is.
    if not string.find(message, 'WRONGTYPE', 1, true) then error(said, 0) end
    said = '-2'
  end
  if kind == 'r' then answers[#answers + 1] = said end
end
return table.concat(answers, ';')
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
