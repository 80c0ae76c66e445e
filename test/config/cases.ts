import { readdirSync, readFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'

import type { Snapshot } from '../../src/config/snapshot.ts'
import { parseConfig, renderProblems } from '../../src/load-config.ts'

/** A file in cases/: YAML, a line of ten hyphens, then the problems or the snapshot as JSON. */
export interface Case {
  readonly name: string
  readonly yaml: string
  readonly want: string
}

const SEPARATOR = '----------\n'
const FOLDER = new URL('cases/', import.meta.url)

/** What `${NAME}` finds in every case. */
const ENV = {
  KEY: 'sk-hunter2',
  PROXY_CREDENTIAL: 'governor:hunter2',
  EMPTY: '',
  LIMIT: '20',
  TENANT: 'acme',
  TWO_LINES: 'sk-hunter2\nx: y',
  REDIS_URL: 'redis://:hunter2@redis:6379',
  DATABASE_URL: 'postgres://governor:hunter2@db.internal/audit?sslmode=verify-full',
  HOSTILE: 'a, b]\npolicies: []',
  DOLLAR: '$approved',
}

export function readCases(): Case[] {
  return readdirSync(FOLDER)
    .sort()
    .map((name) => {
      const [yaml = '', want = ''] = readFileSync(new URL(name, FOLDER), 'utf8').split(SEPARATOR)
      return { name: name.replace(/\.txt$/, ''), yaml, want }
    })
}

export function caseUrl(name: string): URL {
  return new URL(`${name}.txt`, FOLDER)
}

/** What the loader says of a case now. */
export function outcome(yaml: string): string {
  const loaded = parseConfig('governance.yaml', Buffer.from(yaml), { env: ENV, forRun: true })
  if (!loaded.ok) return renderProblems(loaded.problems, 'Nothing was started.')
  return `${JSON.stringify(portable(loaded.snapshot), null, 2)}\n`
}

/** A snapshot without what depends on the machine: paths relative, no digest. */
function portable({
  file,
  digest: _digest,
  secretFiles,
  auth,
  audit,
  ownership,
  ...rest
}: Snapshot) {
  const short = (path: string) => relative(dirname(file), path)
  return {
    ...rest,
    ownership: !('path' in ownership) ? ownership : { ...ownership, path: short(ownership.path) },
    ...(secretFiles.length > 0 && { secretFiles: secretFiles.map(short) }),
    auth: { ...auth, keys: { ...auth.keys, path: short(auth.keys.path) } },
    audit: { ...audit, path: short(audit.path) },
  }
}
