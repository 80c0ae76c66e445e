import { allKeys } from '../auth/key-store.ts'
import { wallMs } from '../clock.ts'
import type { Facts, Principal } from '../exchange.ts'
import type { Governor } from '../governor.ts'
import { commandAdmin, createKey, openKeyStore } from '../key-admin.ts'
import { evaluate } from '../policy/evaluate.ts'

const DAY_MS = 86_400_000
const DEV = { tenant: 'dev', name: 'dev', user: '', roles: ['developer'], labels: {} }

/** Makes a key named `dev` for a day and revokes the ones made at former starts. */
export async function devKey(governor: Governor, version: string): Promise<string> {
  const { snapshot } = governor
  const store = await openKeyStore(snapshot)
  try {
    for await (const { keyId, name, revokedAtMs } of allKeys(store, DEV.tenant)) {
      if (name === DEV.name && revokedAtMs === null) await store.revoke(keyId, wallMs())
    }
    const spec = { ...DEV, expiresAtMs: wallMs() + DAY_MS }
    const { key } = await createKey(commandAdmin(store, { snapshot, version }), spec)
    return key
  } finally {
    await store.close()
  }
}

/** Two calls to try, one that passes and one that policy refuses, for this very configuration. */
export async function tryOut(governor: Governor, key: string): Promise<string> {
  const { allowed, denied } = await modelsToTry(governor)
  const lines = [`\nA key for today:\n  ${key}\n`]
  if (allowed !== null) {
    lines.push(`This answers 200:\n  ${curl(governor, key, allowed)}\n`)
  } else {
    lines.push('No model is allowed to this key: add an allow policy and start again.\n')
  }
  if (denied !== null) {
    lines.push(`This is refused with 403:\n  ${curl(governor, key, denied)}\n`)
  }
  return lines.join('\n')
}

function curl({ proxy: { port }, snapshot }: Governor, key: string, model: string): string {
  const messages = [{ role: 'user', content: 'Say hello' }]
  const body = JSON.stringify({ model, messages })
  const { tls } = snapshot.listen
  // The certificate need not name the loopback address.
  const start = tls === null ? 'curl -sS -i http' : 'curl -sS -k -i https'
  return (
    `${start}://127.0.0.1:${port}/v1/chat/completions ` +
    `-H 'authorization: Bearer ${key}' -H 'content-type: application/json' -d '${body}'`
  )
}

const USUAL_MODELS = ['gpt-4o', 'gpt-4o-mini', 'gpt-4.1', 'gpt-5', 'not-an-approved-model']
const MODEL = /^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/

async function modelsToTry(
  governor: Governor,
): Promise<{ allowed: string | null; denied: string | null }> {
  const { policies } = governor.snapshot
  const named = policies.flatMap((policy) => [
    ...(policy.selectors.models ?? []),
    ...(policy.for?.models ?? []),
  ])
  const candidates = [...named.map((pattern) => pattern.replaceAll('*', '')), ...USUAL_MODELS]
  let allowed: string | null = null
  let denied: string | null = null
  for (const model of candidates.filter((name) => MODEL.test(name))) {
    const isAllowed = await decides(governor, model)
    if (isAllowed === true) allowed ??= model
    if (isAllowed === false) denied ??= model
  }
  return { allowed, denied }
}

/** Whether policy lets the dev key chat with this model; null when no upstream serves it. */
async function decides({ world }: Governor, model: string): Promise<boolean | null> {
  const principal: Principal = { ...DEV, via: 'key', keyId: 'dev', keyName: DEV.name, ip: '' }
  const subject = { principal, operation: 'chat' as const, models: [model], upstream: null }
  const upstream = world.upstreams.find(({ serves }) => serves.fails(subject) === null)
  const found = upstream?.provider.lookup('POST', '/v1/chat/completions')
  if (upstream === undefined || found?.kind !== 'endpoint') return null
  const facts: Facts = {
    model,
    models: [model],
    stream: false,
    maxOutputTokens: null,
    tools: [],
    texts: { values: ['Say hello'], pointer: () => '/messages/0/content' },
    inputChars: 'Say hello'.length,
    uninspectable: [],
    askUsage: null,
  }
  const route = { endpoint: found.endpoint, pathModel: null }
  const { effect } = await evaluate(world.policies, {
    principal,
    route,
    facts,
    upstream,
    wallMs: wallMs(),
  })
  return effect === 'allow'
}
