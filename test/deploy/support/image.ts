import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { execPath, getgid, getuid } from 'node:process'

import { all, environment, type Instruction, last, parseDockerfile } from './dockerfile.ts'

/** The repository. */
export const REPOSITORY = join(import.meta.dirname, '../../..')
/** Only root can become the image's user; anybody else runs it as oneself. */
export const IS_ROOT = getuid?.() === 0

/** What the Dockerfile makes, under `root` instead of `/`. */
export interface Image {
  readonly root: string
  readonly workdir: string
  readonly env: Readonly<Record<string, string>>
  readonly uid: number
  readonly gid: number
  /** What RUN steps printed. */
  readonly output: string
  /** Container paths in a text, such as `/governor/src`, as paths on this machine. */
  at(text: string): string
  remove(): void
}

const CONTAINER_PATHS = /(?<![\w.-])\/(?:governor|data|etc\/governor|run\/secrets)(?![\w.-])/g

/**
 * Carries the Dockerfile out without Docker: the same copies, the same commands as the same user, below
 * a temporary directory. Only two things differ: the base image is this machine, and `npm ci` is a
 * copy of what the lock file calls production dependencies, so that no network is needed.
 */
export function buildImage(): Image {
  const [build, final] = parseDockerfile(readFileSync(join(REPOSITORY, 'Dockerfile'), 'utf8'))
  if (build === undefined || final === undefined) throw new Error('Expected two stages')
  // Not below the repository: the image's user may not be able to get there.
  const root = mkdtempSync(join(tmpdir(), 'governor-image-'))
  chmodSync(root, 0o755)
  mkdirSync(join(root, 'usr/local/bin'), { recursive: true })
  copyFileSync(execPath, join(root, 'usr/local/bin/node'))
  const [uid = 0, gid = 0] = IS_ROOT
    ? last(final, 'USER').split(':').map(Number)
    : [getuid?.(), getgid?.()]
  const at = (text: string) => text.replaceAll(CONTAINER_PATHS, (path) => join(root, path))
  const image = {
    root,
    workdir: last(final, 'WORKDIR'),
    env: environment(final),
    uid,
    gid,
    output: '',
    at,
    remove: () => {
      execFileSync('chmod', ['-R', 'u+rwX', root])
      rmSync(root, { recursive: true, force: true })
    },
  }
  try {
    const steps = new Steps(image)
    for (const instruction of build.instructions) steps.do(instruction)
    image.output = steps.output
    // The final stage copies /governor to /governor: what is there already.
    const finalSteps = new Steps(image)
    for (const instruction of all(final, 'RUN')) finalSteps.do(instruction)
    execFileSync('chmod', ['-R', 'a-w', join(root, 'governor')])
  } catch (error) {
    image.remove()
    throw error
  }
  return image
}

class Steps {
  readonly #image: Image
  readonly #env: Record<string, string> = {}
  #user = 'root'
  #workdir = '/'
  output = ''

  constructor(image: Image) {
    this.#image = image
  }

  do({ name, text }: Instruction): void {
    if (name === 'WORKDIR') {
      this.#workdir = text
      mkdirSync(this.#image.at(text), { recursive: true })
    } else if (name === 'ENV') {
      const at = text.indexOf('=')
      this.#env[text.slice(0, at)] = text.slice(at + 1)
    } else if (name === 'USER') {
      this.#user = text
    } else if (name === 'COPY') {
      this.#copy(text.split(/\s+/))
    } else if (name === 'RUN' && text.startsWith('npm ci ')) {
      copyProductionDependencies(this.#image.at(this.#workdir))
    } else if (name === 'RUN') {
      this.#run(text)
    } else {
      throw new Error(`Cannot build: ${name} ${text}`)
    }
  }

  /** As Docker does: a directory is copied into its target, a file below it when that ends in `/`. */
  #copy(words: readonly string[]): void {
    const target = words.at(-1)!
    for (const source of words.slice(0, -1)) {
      const to = join(this.#image.at(this.#workdir), target)
      const file = target.endsWith('/') ? join(to, basename(source)) : to
      mkdirSync(dirname(file), { recursive: true })
      cpSync(join(REPOSITORY, source), file, { recursive: true })
    }
  }

  #run(text: string): void {
    const { uid, gid } = this.#image
    const asUser = IS_ROOT && this.#user !== 'root' ? { uid, gid } : {}
    const command = this.#image.at(text).replaceAll(/\b65532\b/g, String(uid))
    const words = [...cleanEnvironment(this.#image, this.#env), 'sh', '-c', command]
    const { status, stdout, stderr } = spawnSync('env', words, {
      cwd: this.#image.at(this.#workdir),
      encoding: 'utf8',
      ...asUser,
    })
    if (status !== 0) throw new Error(`RUN ${text}\n${stdout}${stderr}`)
    this.output += stdout
  }
}

/**
 * Arguments of `env` for what an image's process finds in its environment: PATH, the image's own and `more`.
 * By `env -i`, since the test runner adds options of its own to what Node starts.
 */
export function cleanEnvironment(image: Image, more: Readonly<Record<string, string>>): string[] {
  const path = `PATH=${image.root}/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`
  const own = Object.entries({ ...image.env, ...more }).map(([name, value]) => {
    return `${name}=${image.at(value)}`
  })
  return ['-i', path, ...own]
}

interface Locked {
  readonly dev?: boolean
  readonly optional?: boolean
  readonly devOptional?: boolean
}

/** What `npm ci --omit=dev --omit=optional` installs, as paths below the repository. */
export function productionDependencies(): string[] {
  const lock = JSON.parse(readFileSync(join(REPOSITORY, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>
  }
  return Object.entries(lock.packages)
    .filter(([path, { dev, optional, devOptional }]) => {
      return path !== '' && dev !== true && optional !== true && devOptional !== true
    })
    .map(([path]) => path)
}

function copyProductionDependencies(to: string): void {
  for (const path of productionDependencies()) {
    const from = join(REPOSITORY, path)
    // A package inside a package has a line of its own in the lock file.
    const filter = (source: string) => !source.slice(from.length).includes('node_modules')
    cpSync(from, join(to, path), { recursive: true, filter })
  }
}

/** Makes a directory of the container as a volume would be: owner, group and mode as given. */
export function mount(image: Image, path: string, mode: number): string {
  const directory = image.at(path)
  mkdirSync(directory, { recursive: true })
  if (IS_ROOT) chownSync(directory, 0, image.gid)
  chmodSync(directory, mode)
  return directory
}
