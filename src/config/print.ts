import { stringify } from 'yaml'

import { certificate, issuer, keyStore, MASK, tls } from './print-auth.ts'
import { store } from './print-store.ts'
import type {
  ExceptionConfig,
  DetectorConfig,
  InputSelector,
  OutputSelector,
  LimitConfig,
  LimitFigures,
  OwnershipConfig,
  PolicyConfig,
  PresidioQuestion,
  Selectors,
  SettingConfig,
  ShipConfig,
  Snapshot,
  TestConfig,
  UpstreamConfig,
} from './snapshot.ts'
import {
  formatAddress,
  formatCost,
  formatDuration,
  formatPrice,
  formatRate,
  formatSize,
} from './units.ts'

/** Stands where a secret was. */

/**
 * The effective configuration as a governance.yaml: defaults filled in, sets and variables resolved,
 * paths absolute, secrets masked. Reads back to the same snapshot where there was no secret.
 */
export function printConfig(snapshot: Snapshot): string {
  const { listen, auth, audit } = snapshot
  const file = {
    version: 1,
    listen: present({
      proxy: formatAddress(listen.proxy),
      tls: listen.tls && tls(listen.tls),
      admin: listen.admin && formatAddress(listen.admin),
      health: listen.health && formatAddress(listen.health),
    }),
    upstreams: snapshot.upstreams.map(upstream),
    auth: present({
      keys: keyStore(auth.keys),
      pod: auth.pod,
      certificate: auth.certificate && certificate(auth.certificate),
      ...(auth.jwt.length > 0 && { jwt: auth.jwt.map(issuer) }),
    }),
    limits: snapshot.limits.map(limit),
    limit_store: store(snapshot.limitStore, MASK),
    sidecars: snapshot.sidecars,
    prices: prices(snapshot),
    defaults: {
      decision: snapshot.defaults.decision,
      on_error: snapshot.defaults.onError,
      unknown_operation: snapshot.defaults.unknownOperation,
      uninspectable: snapshot.defaults.uninspectable,
      mode: snapshot.defaults.mode,
    },
    ...(snapshot.operations.length > 0 && { operations: snapshot.operations }),
    aliases: snapshot.aliases,
    look_alikes: snapshot.lookAlikes,
    policies: snapshot.policies.map(policy),
    exceptions: snapshot.exceptions.map(exception),
    ...(snapshot.candidate !== null && { candidate: snapshot.candidate.file }),
    detectors: snapshot.detectors.map(detector),
    ...ownership(snapshot.ownership),
    tests: snapshot.tests.map(test),
    audit: present({
      path: audit.path,
      required: audit.required,
      ack: audit.ack,
      local_max: formatSize(audit.localBytesMax),
      content: audit.content,
      ship: audit.ship && ship(audit.ship),
      ...(audit.retentionMs !== null && { retention: formatDuration(audit.retentionMs) }),
      ...checkpointsOf(audit),
      ...rootOf(audit),
    }),
    ...ceilings(snapshot),
  }
  return stringify(escaped(file), {
    lineWidth: 0,
    aliasDuplicateObjects: false,
    defaultStringType: 'PLAIN',
    version: '1.1',
  })
}

function rootOf({ root: { file, url, keys } }: Snapshot['audit']) {
  if (file === null && url === null) return {}
  const place = { ...(file !== null && { file }), ...(url !== null && { url }) }
  return { root: { ...place, ...(keys !== null && { keys }) } }
}

function checkpointsOf({ checkpoints: { file, url } }: Snapshot['audit']) {
  if (file === null && url === null) return {}
  return { checkpoints: { ...(file !== null && { file }), ...(url !== null && { url }) } }
}

function ceilings({ maximums, timeouts }: Snapshot) {
  return {
    maximums: {
      body: formatSize(maximums.bodyBytes),
      decoded: formatSize(maximums.decodedBytes),
      upload: formatSize(maximums.uploadBytes),
      spooled: formatSize(maximums.spooledBytes),
      in_flight: formatSize(maximums.inFlightBytes),
      json_depth: maximums.jsonDepth,
      streams: maximums.streams,
    },
    timeouts: {
      client_headers: formatDuration(timeouts.clientHeadersMs),
      client_body: formatDuration(timeouts.clientBodyMs),
      connect: formatDuration(timeouts.connectMs),
      first_byte: formatDuration(timeouts.firstByteMs),
      idle: formatDuration(timeouts.idleMs),
      commit: formatDuration(timeouts.commitMs),
      drain: formatDuration(timeouts.drainMs),
    },
  }
}

function ownership(config: OwnershipConfig) {
  if (config.store === 'off') return config.isChosen ? { ownership: 'off' } : {}
  const { recordsMax, expiresMs, unknown } = config
  return {
    ownership: {
      store: config.store,
      ...(config.store === 'embedded' ? { path: config.path } : { postgres: MASK }),
      records_max: recordsMax,
      expires: formatDuration(expiresMs),
      unknown,
    },
  }
}

function shortTime(ms: number | null): string | null {
  return ms === null ? null : formatDuration(ms)
}

function signing({ region, sessionToken, chain }: NonNullable<UpstreamConfig['aws']>) {
  if (chain !== undefined) return { region, credentials: 'chain' }
  const session_token = sessionToken === null ? null : MASK
  return present({ region, access_key_id: MASK, session_token })
}

/** How it is reached and what calls to it are signed with. */
function connection({ ca, proxy, aws, azure }: UpstreamConfig) {
  return {
    ...(ca && { ca_file: ca.file }),
    ...(proxy && {
      proxy: present({
        url: proxy.url,
        credential: proxy.credential === null ? null : MASK,
        ca_file: proxy.ca?.file ?? null,
      }),
    }),
    ...(aws && { aws: signing(aws) }),
    ...(azure && { azure: { credentials: azure.credentials, scope: azure.scope } }),
  }
}

function upstream(config: UpstreamConfig) {
  const {
    ca: _ca,
    proxy: _proxy,
    aws: _aws,
    azure: _azure,
    group,
    retry,
    breaker,
    concurrency,
    timeouts,
    ...plain
  } = config
  return present({
    ...plain,
    credential: config.credential === null || config.aws?.chain ? null : MASK,
    ...connection(config),
    ...(group && { group: group.name, priority: group.priority, weight: group.weight }),
    ...(retry && {
      retry: {
        attempts: retry.attempts,
        on: retry.on,
        wait_max: formatDuration(retry.waitMsMax),
        budget: retry.budget,
        maybe_billed: retry.maybeBilled,
      },
    }),
    ...(breaker && {
      breaker: { failures: breaker.failures, open: formatDuration(breaker.openMs) },
    }),
    ...(concurrency && {
      concurrency: {
        calls: concurrency.calls,
        queue: concurrency.queue,
        wait_max: formatDuration(concurrency.waitMsMax),
      },
    }),
    ...(timeouts && {
      timeouts: present({
        connect: shortTime(timeouts.connectMs),
        first_byte: shortTime(timeouts.firstByteMs),
        idle: shortTime(timeouts.idleMs),
      }),
    }),
  })
}

function detector(config: DetectorConfig) {
  if ('matches' in config) return config
  const { credential, timeoutMs, charsMax, concurrency, cacheTexts, onError, url } = config.external
  const service = {
    credential: credential === null ? null : MASK,
    timeout: formatDuration(timeoutMs),
    max_chars: charsMax,
    concurrency,
    cache: cacheTexts,
    on_error: onError,
  }
  const { kind, ...asks } = config.asks
  if (kind === 'openai_moderation')
    return { id: config.id, [kind]: present({ url, ...asks, ...service }) }
  const { scoreMin, ...others } = asks as Omit<PresidioQuestion, 'kind'>
  return { id: config.id, [kind]: present({ url, ...others, min_score: scoreMin, ...service }) }
}

function ship(config: ShipConfig) {
  if (config.kind === 'postgres') return { postgres: MASK }
  const { url, credential } = config
  return { http: present({ url, credential: credential === null ? null : MASK }) }
}

function limit(config: LimitConfig) {
  const calendar = [config, ...config.overrides].some(hasCalendar)
  return present({
    id: config.id,
    per: config.per,
    for: config.for && selectors(config.for),
    ...figures(config),
    time_zone: calendar ? config.timeZone : null,
    reserve_output: [config, ...config.overrides].some(spends) ? config.reserveOutput : null,
    on_store_loss: config.onStoreLoss,
    overrides:
      config.overrides.length === 0
        ? null
        : config.overrides.map((override) => ({
            for: selectors(override.for),
            ...figures(override),
          })),
  })
}

function hasCalendar({ requests, tokens, cost }: LimitFigures): boolean {
  return [requests, tokens, cost].some((rate) => rate?.calendar != null)
}

function spends({ tokens, cost }: LimitFigures): boolean {
  return tokens !== null || cost !== null
}

function figures({ requests, burst, concurrent, tokens, cost }: LimitFigures) {
  return present({
    requests: requests && formatRate(requests),
    burst,
    concurrent,
    tokens: tokens && formatRate(tokens),
    cost: cost && formatCost(cost),
  })
}

/** Those of the file; the ones that come with Governor are in config/prices.json. */
function prices({ prices: { unknown, models } }: Snapshot) {
  const all = Object.entries(models).map(([model, price]) => [
    model,
    {
      input: formatPrice(price.inputPico),
      output: formatPrice(price.outputPico),
      cached: formatPrice(price.cachedPico),
      reasoning: formatPrice(price.reasoningPico),
      batch_input: formatPrice(price.batchInputPico),
      batch_output: formatPrice(price.batchOutputPico),
    },
  ])
  return { unknown, models: Object.fromEntries(all) as Record<string, object> }
}

function policy(config: PolicyConfig) {
  const { output = null, restore = null } = config
  return present({
    id: config.id,
    mode: config.mode,
    message: config.message,
    for: config.for && selectors(config.for),
    [config.verb]:
      config.settings === undefined
        ? present({
            ...selectors(config.selectors),
            output: output && outputSelector(output),
            restore,
          })
        : settings(config.settings),
  })
}

function exception({ approvedBy, expiresMs, ...config }: ExceptionConfig) {
  return present({
    ...config,
    for: config.for && selectors(config.for),
    approved_by: approvedBy,
    expires: new Date(expiresMs).toISOString().replace('.000Z', 'Z'),
  })
}

function settings(list: readonly SettingConfig[]) {
  const said = list.map(({ parameter, value, default: initial, atMost, atLeast }) => {
    return [
      parameter,
      value ?? present({ default: initial, at_most: atMost, at_least: atLeast }),
    ] as const
  })
  return Object.fromEntries(said)
}

function selectors({ input, ...others }: Selectors) {
  return present({ ...others, input: input && inputSelector(input) })
}

function inputSelector({ matches, words, charsMax, tokensMax, detect }: InputSelector) {
  return present({ matches, words, max_chars: charsMax, max_tokens: tokensMax, detect })
}

function outputSelector(output: OutputSelector) {
  const { matches, window, words, charsMax, tokensMax, detect } = output
  return present({
    matches,
    window: window && formatSize(window),
    words,
    max_chars: charsMax,
    max_tokens: tokensMax,
    detect,
  })
}

function test({ name, request, expect, answer = null }: TestConfig) {
  const { maxOutputTokens, timeMs, ...rest } = request
  const said = Object.entries(rest).filter(([, value]) => value !== '')
  const time = timeMs === null ? null : new Date(timeMs).toISOString()
  return present({
    name,
    request: present({
      ...Object.fromEntries(said),
      max_output_tokens: maxOutputTokens,
      time,
    }),
    answer,
    expect: present({ ...expect, set: expect.set == null ? null : present(expect.set) }),
  })
}

/** Without the keys that say nothing. */
function present(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null))
}

/** Keeps a literal `${` literal; a whole `${NAME}` is a variable that was not set, and stays one. */
function escaped(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.replaceAll(/\$\{(?![A-Za-z_]\w*\})/g, () => '$${')
  }
  if (Array.isArray(value)) return value.map(escaped)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, escaped(inner)]))
}
