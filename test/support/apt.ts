import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { env, getuid, platform } from 'node:process'

/** Whether Debian's packages can be installed by this process. */
export const CAN_INSTALL =
  platform === 'linux' && getuid?.() === 0 && existsSync('/etc/debian_version')

/** Files run side by side, and one package manager waits for the other. */
const WAIT = ['-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=2']

/** Installs a package of Debian's, saying so. Throws where it cannot be had. */
export function aptInstall(name: string): void {
  process.stderr.write(`# no ${name}: apt-get install -y ${name}\n`)
  const quiet = { ...env, DEBIAN_FRONTEND: 'noninteractive' }
  const run = (...args: string[]) =>
    execFileSync('apt-get', [...WAIT, ...args], { stdio: 'ignore', env: quiet })
  try {
    run('install', '-y', '--no-install-recommends', name)
  } catch {
    // A fresh machine has no lists, or old ones.
    run('update')
    run('install', '-y', '--no-install-recommends', name)
  }
}
