import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import process, { stderr } from 'node:process'

/** `npm run bench`: installs what only the bench needs when that is missing or stale, then runs it. */

const ROOT = new URL('../', import.meta.url).pathname
const STAMP = new URL('./node_modules/.installed', import.meta.url)
const wanted = createHash('sha256')
  .update(readFileSync(new URL('./package-lock.json', import.meta.url)))
  .digest('hex')

function installed(): string {
  try {
    return readFileSync(STAMP, 'utf8')
  } catch {
    return ''
  }
}

function install(): boolean {
  stderr.write('bench: installing its own packages (npm ci --prefix bench)\n')
  const command = ['ci', '--prefix', 'bench', '--ignore-scripts', '--no-audit', '--no-fund']
  const { status } = spawnSync('npm', command, { cwd: ROOT, stdio: ['ignore', 2, 2] })
  if (status === 0) writeFileSync(STAMP, wanted)
  return status === 0
}

if (installed() === wanted || install()) await import('./run.ts')
else process.exitCode = 2
