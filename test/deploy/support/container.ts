import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

import { cleanEnvironment, type Image, IS_ROOT } from './image.ts'

/**
 * Runs what is in `$@` as a container runtime would: every file system read-only but the volume in $1, as user
 * $2 and group $3, without capabilities, unable to gain any, and as process 1.
 */
const SANDBOX = `
set -e
mount --bind "$1" "$1"
for point in / /tmp /run /var /home /dev/shm; do
  if mountpoint -q "$point"; then mount -o remount,bind,ro "$point"; fi
done
uid=$2 gid=$3
shift 3
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups --no-new-privs \\
  --inh-caps=-all --bounding-set=-all --pdeathsig KILL -- "$@"
`
/** Whatever ends the tests ends what they started, hence the signal at the parent's death. */
const UNSHARE = ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--fork', '--']

/** Whether this machine lets us make a read-only root; without, directories without write bits must do. */
export const HAS_SANDBOX =
  IS_ROOT && spawnSync('env', [...UNSHARE, 'mount', '--bind', '/tmp', '/tmp']).status === 0

export interface RunOptions {
  readonly command: readonly string[]
  /** In addition to the image's own. */
  readonly env?: Readonly<Record<string, string>>
  /** The volume that may be written. */
  readonly data?: string
  /** Another user than the image's, where this process may choose. */
  readonly uid?: number
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** One process started from an image, with the image's environment and nothing of ours. */
export class Container {
  readonly #child: ChildProcess
  readonly #ended: Promise<Ended>
  stdout = ''
  stderr = ''

  constructor(image: Image, { command, env = {}, data = '/data', uid = image.uid }: RunOptions) {
    const inner = command.map((word) => image.at(word))
    const sandbox = ['sh', '-c', SANDBOX, 'sandbox', image.at(data), `${uid}`, `${image.gid}`]
    const outer = HAS_SANDBOX ? [...UNSHARE, ...sandbox] : []
    this.#child = spawn('env', [...cleanEnvironment(image, env), ...outer, ...inner], {
      cwd: image.at(image.workdir),
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(IS_ROOT && !HAS_SANDBOX ? { uid, gid: image.gid } : {}),
    })
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.#ended = new Promise((resolve) => {
      this.#child.on('close', (code) => {
        resolve({ code, stdout: this.stdout, stderr: this.stderr })
      })
    })
  }

  /** Resolves when it has ended; `code` is null when a signal ended it. */
  get ended(): Promise<Ended> {
    return this.#ended
  }

  /** Resolves with the first match in what it prints; rejects with all it printed when it ends before. */
  async prints(pattern: RegExp): Promise<RegExpExecArray> {
    let over = false
    void this.#ended.then(() => (over = true))
    for (;;) {
      const match = pattern.exec(this.stdout)
      if (match !== null) return match
      if (over) throw new Error(`Ended without ${pattern}:\n${this.stdout}${this.stderr}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Signals the process itself: with a sandbox, the one that is process 1 in there. */
  signal(name: NodeJS.Signals): void {
    process.kill(this.#pid, name)
  }

  /** Resident memory of the main process, MiB. */
  get residentMib(): number {
    const status = readFileSync(`/proc/${this.#pid}/status`, 'utf8')
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
  }

  get #pid(): number {
    const pid = this.#child.pid!
    if (!HAS_SANDBOX) return pid
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0])
  }

  /** For teardown; harmless when it has ended. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

/** Runs a command to its end. */
export async function runInImage(image: Image, options: RunOptions): Promise<Ended> {
  return new Container(image, options).ended
}
