import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'

import { escapeText } from '../audit/format.ts'
import { capacityText } from '../config/advice.ts'
import type { Address, Snapshot } from '../config/snapshot.ts'
import { formatAddress } from '../config/units.ts'

/** Where the sidecar listens, with the ports it really got; null: that one is off. */
export interface Listening {
  readonly proxy: Address
  readonly admin: Address | null
  readonly health: Address | null
}

/** What `governor run` says of itself: where it listens, what it enforces, where it writes. */
export function banner(snapshot: Snapshot, listening: Listening, recovered: number): string {
  const { upstreams, policies, limits, audit, auth } = snapshot
  const proxy = `${snapshot.listen.tls === null ? 'http' : 'https'}://${formatAddress(listening.proxy)}`
  const lines: [string, string][] = [
    ['config', `${snapshot.file} (${snapshot.digest.slice(0, 12)})`],
    ['proxy', `${proxy}  OPENAI_BASE_URL=${proxy}/v1`],
    ['admin', listening.admin === null ? 'off' : `http://${formatAddress(listening.admin)}`],
    ['health', listening.health === null ? 'off' : `http://${formatAddress(listening.health)}`],
    ['upstreams', upstreams.map(({ name, url }) => `${name} → ${url}`).join(', ')],
    ['callers', callers(auth)],
    ['policies', byMode(policies)],
    ['limits', `${limits.length}, store ${storeText(snapshot)}`],
    ['audit', `${audit.path}, ${freeSpace(audit.path)}; ${capacityText(snapshot)}`],
  ]
  if (snapshot.candidate !== null) {
    const { file, digest } = snapshot.candidate
    lines.push(['candidate', `${file} (${digest.slice(0, 12)}), in shadow`])
  }
  if (recovered > 0) lines.push(['recovered', `${recovered} interrupted calls closed in the audit`])
  return [
    'Governor is running.',
    ...lines.map(([name, text]) => `  ${name.padEnd(10)} ${escapeText(text)}`),
    '',
  ].join('\n')
}

function callers({ pod, jwt, certificate }: Snapshot['auth']): string {
  const tokens = jwt.map(({ name }) => name).join(', ')
  const known =
    (tokens === '' ? 'keys' : `keys, tokens of ${tokens}`) +
    (certificate === null ? '' : ', client certificates')
  return pod === null ? known : `${known}, or the pod as tenant ${pod.tenant}`
}

/** Never the URL, which may hold a password. */
function storeText({ limitStore }: Snapshot): string {
  if (limitStore === 'memory') return 'memory: not shared'
  if (typeof limitStore === 'string') return `redis at ${new URL(limitStore).host}`
  const { kind, nodes } = limitStore
  return `redis ${kind} at ${nodes.map(formatAddress).join(', ')}`
}

function byMode(policies: Snapshot['policies']): string {
  const counts = new Map<string, number>()
  for (const { mode } of policies) counts.set(mode, (counts.get(mode) ?? 0) + 1)
  return [...counts].map(([mode, count]) => `${count} ${mode}`).join(', ') || 'none'
}

function freeSpace(path: string): string {
  try {
    const { bavail, bsize } = statfsSync(dirname(path))
    return `${Math.floor((bavail * bsize) / 2 ** 20).toLocaleString('en-US')} MiB free`
  } catch {
    return 'free space unknown'
  }
}
