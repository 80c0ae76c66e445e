import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

import t, { type Test } from 'tap'
import { parse } from 'yaml'

import { Container, HAS_SANDBOX, runInImage } from './support/container.ts'
import { execForm, last, parseDockerfile } from './support/dockerfile.ts'
import { buildImage, type Image, IS_ROOT, mount, REPOSITORY } from './support/image.ts'
import { type Probe, readManifest } from './support/manifest.ts'
import { startProvider } from './support/provider.ts'

// Goal: what deploy/ promises is what happens. Method: carry the Dockerfile out below a temporary directory,
// start its own command line as its own user on a read-only root, and be kubelet and application to
// it. Only ports are free ones and the provider is a local one.

const FINAL = parseDockerfile(readFileSync(join(REPOSITORY, 'Dockerfile'), 'utf8')).at(-1)!
const COMMAND = [...execForm(last(FINAL, 'ENTRYPOINT')), ...execForm(last(FINAL, 'CMD'))]
const GOVERNOR = execForm(last(FINAL, 'ENTRYPOINT'))
const { configMap, governor, app } = readManifest()
const POD_ENV = { POD_NAMESPACE: 'shop', POD_SERVICE_ACCOUNT: 'checkout' }
/** Not the loopback address the proxy is bound to: where only 0.0.0.0 answers, as a pod address would. */
const POD_ADDRESS = '127.0.0.2'

const image = buildImage()
t.teardown(() => image.remove())
t.comment(HAS_SANDBOX ? 'The root is read-only' : 'No unshare: the root is without write bits')
t.comment(IS_ROOT ? `As user ${image.uid}` : 'Not root: as the user who runs the tests')

/** `:4141`, `:4142`, `:4143` as any free port. */
function onFreePorts(config: string): string {
  return config.replaceAll(/:414[123]\b/g, ':0')
}

/** Each of the three ports as the one that was taken for it. */
class Ports {
  readonly #taken: ReadonlyMap<string, string>

  constructor(banner: string) {
    const taken = (name: string) => {
      return new RegExp(`^ +${name} +http://[\\d.]+:(\\d+)`, 'm').exec(banner)?.[1] ?? 'off'
    }
    this.#taken = new Map([
      ['4141', taken('proxy')],
      ['4142', taken('admin')],
      ['4143', taken('health')],
    ])
  }

  in(text: string): string {
    return text.replaceAll(/\b414[123]\b/g, (port) => this.#taken.get(port)!)
  }
}

/** Puts files where a ConfigMap or Secret volume would: behind `..data`, swapped as a whole. */
function project(directory: string, version: string, files: Readonly<Record<string, string>>) {
  const folder = join(directory, `..${version}`)
  mkdirSync(folder)
  for (const [name, content] of Object.entries(files)) {
    const file = join(folder, name)
    writeFileSync(file, content)
    if (IS_ROOT) chownSync(file, 0, image.gid)
    chmodSync(file, 0o440)
  }
  symlinkSync(`..${version}`, join(directory, '..data_tmp'))
  renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
  for (const name of Object.keys(files)) {
    rmSync(join(directory, name), { force: true })
    symlinkSync(join('..data', name), join(directory, name))
  }
}

/** Volumes of one container, fresh for a test. */
function volumes(t: Test): { config: string; secrets: string; data: string } {
  const paths = { config: '/etc/governor', secrets: '/run/secrets/governor', data: '/data' }
  for (const path of Object.values(paths)) rmSync(image.at(path), { recursive: true, force: true })
  t.teardown(() => {
    for (const path of Object.values(paths)) {
      rmSync(image.at(path), { recursive: true, force: true })
    }
  })
  return {
    config: mount(image, paths.config, 0o755),
    secrets: mount(image, paths.secrets, 0o750),
    data: mount(image, paths.data, 0o2770),
  }
}

async function start(t: Test, env: Readonly<Record<string, string>>) {
  const container = new Container(image, { command: COMMAND, env })
  t.teardown(() => container.kill())
  const [banner] = await container.prints(/^Governor is running\.\n(?: .*\n)+/m)
  return { container, ports: new Ports(banner) }
}

/** What the kubelet does: GET at the pod's address, 200 to 399 is success. */
async function probe(ports: Ports, { httpGet }: Probe): Promise<boolean> {
  const port = governor.ports!.find(({ name }) => name === httpGet.port)!.containerPort
  const answer = await fetch(`http://${POD_ADDRESS}:${ports.in(String(port))}${httpGet.path}`)
  await answer.text()
  return answer.status >= 200 && answer.status < 400
}

async function chat(ports: Ports, model: string, content = 'Say hello') {
  const url = ports.in(`${app.env![0]!.value}/chat/completions`)
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer unused' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content }] }),
  })
  return { status: answer.status, body: await answer.text() }
}

async function metric(ports: Ports, line: string): Promise<number> {
  const answer = await fetch(ports.in(`http://${POD_ADDRESS}:4143/metrics`))
  const text = await answer.text()
  const found = text.split('\n').find((candidate) => candidate.startsWith(`${line} `))
  return found === undefined ? 0 : Number(found.slice(line.length))
}

/** Waits for what must come; the test's own time limit is the only one. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 100))
}

/** Everything in the image with what a write would change. */
function fingerprint({ root }: Image): string {
  return execFileSync('find', ['governor', 'usr', '-printf', '%p %y %s %T@ %m\\n'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
}

t.test('the build makes real calls and warms the compile cache', (t) => {
  t.match(image.output, 'The audit log holds')
  const [cache] = readdirSync(image.at('/governor/.compile-cache'))
  t.match(cache, new RegExp(`^${process.version}-${process.arch}-[0-9a-f]+-${image.uid}$`))
  t.strictSame(readdirSync(image.at('/governor')).sort(), [
    '.compile-cache',
    '.npmrc',
    'config',
    'node_modules',
    'package-lock.json',
    'package.json',
    'src',
  ])
  t.end()
})

t.test('the root cannot be written', { skip: !HAS_SANDBOX && 'needs unshare' }, async (t) => {
  volumes(t)
  const { stdout, stderr } = await runInImage(image, {
    command: [
      'sh',
      '-c',
      'echo "process $$"; touch /governor/x /tmp/x /dev/shm/x /data/x; ls /data',
    ],
  })
  t.equal(stdout, 'process 1\nx\n')
  t.equal(stderr.match(/Read-only file system|Permission denied/g)?.length, 3)
})

t.test('pod.yaml works: probes, calls as the pod, draining, an intact log', async (t) => {
  const provider = await startProvider(t)
  const { config, secrets } = volumes(t)
  const governance = configMap.data['governance.yaml']!
  const text = image.at(onFreePorts(governance)).replace('https://api.openai.com', provider.url)
  project(config, '1', { 'governance.yaml': text })
  project(secrets, '1', { 'api-key': 'sk-provider\n' })
  const before = fingerprint(image)
  const { container, ports } = await start(t, POD_ENV)

  await until(() => probe(ports, governor.startupProbe!))
  t.equal(await probe(ports, governor.readinessProbe!), true, 'ready')
  t.equal(await probe(ports, governor.livenessProbe!), true, 'alive')
  await t.rejects(
    fetch(ports.in(`http://${POD_ADDRESS}:4141/v1/models`)),
    'the proxy is not to be reached at the address of the pod',
  )
  const healthcheck = execForm(last(FINAL, 'HEALTHCHECK')).map((word) => ports.in(word))
  t.equal((await runInImage(image, { command: healthcheck })).code, 0, 'HEALTHCHECK of the image')
  t.equal((await runInImage(image, { command: dead(healthcheck) })).code, 1, 'and without Governor')

  const application = new Container(image, {
    command: app.command!,
    env: { OPENAI_BASE_URL: ports.in(app.env![0]!.value!) },
  })
  t.teardown(() => application.kill())
  const [, said] = await application.prints(/^(\d+ .*)\n/)
  t.match(said, /^200 \{.*"content":"Hello"/, 'the application of the manifest gets its answer')
  t.match(await chat(ports, 'gpt-5'), { status: 403, body: 'Frontier models need an approval' })
  t.strictSame(provider.credentials, ['Bearer sk-provider'], 'the key of the Secret, once')
  t.comment(`Resident after start and two calls: ${container.residentMib} MiB of 320 MiB`)

  const late = chat(ports, 'gpt-4o', 'slow')
  const finish = await provider.slow
  application.signal('SIGTERM')
  t.equal((await application.ended).code, 0, 'the application stops first')
  container.signal('SIGTERM')
  await until(() => Promise.resolve(container.stderr.includes('Draining')))
  finish()
  t.equal((await late).status, 200, 'a call under way ends well')
  t.strictSame((await container.ended).code, 0)

  const args = ['--config', '/etc/governor/governance.yaml']
  const verify = { command: [...GOVERNOR, 'audit', 'verify', '--strict', ...args], env: POD_ENV }
  t.match(await runInImage(image, verify), { code: 0, stdout: /The audit log holds/ })
  const tail = { command: [...GOVERNOR, 'audit', 'tail', '-n', '100', ...args], env: POD_ENV }
  t.match((await runInImage(image, tail)).stdout, 'tenant=shop')
  t.equal(fingerprint(image), before, 'nothing was written outside /data')
})

/** The same health check for a port nobody listens on. */
function dead(healthcheck: readonly string[]): string[] {
  return healthcheck.map((word) => word.replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1'))
}

t.test('a swapped ConfigMap takes effect, a broken one does not', async (t) => {
  const { config, secrets } = volumes(t)
  const governance = configMap.data['governance.yaml']!
  const text = image.at(onFreePorts(governance)).replace('https://api.openai.com', "'echo:'")
  project(config, '1', { 'governance.yaml': text })
  project(secrets, '1', { 'api-key': 'sk-provider\n' })
  const { container, ports } = await start(t, POD_ENV)
  t.equal((await chat(ports, 'gpt-5')).status, 403)

  const open = text.replace(/deny: \{ models: .*\}/, 'allow: { models: ["gpt-5*"] }')
  project(config, '2', { 'governance.yaml': open })
  await until(async () => (await metric(ports, RELOADED)) === 1)
  t.equal((await chat(ports, 'gpt-5')).status, 200)

  project(config, '3', { 'governance.yaml': open.replace('limits:', 'limit:') })
  await until(async () => (await metric(ports, REFUSED)) === 1)
  t.equal((await chat(ports, 'gpt-5')).status, 200, 'the last good one stays')
  t.match(container.stderr, 'did you mean \\"limits\\"')
  t.equal(await probe(ports, governor.readinessProbe!), true)
  container.signal('SIGTERM')
  t.equal((await container.ended).code, 0)
})

const RELOADED = 'governor_config_reloads_total{result="ok"}'
const REFUSED = 'governor_config_reloads_total{result="refused"}'

t.test('compose.yaml works, with the commands of deploy/README.md', async (t) => {
  const { config } = volumes(t)
  const governance = readFileSync(join(REPOSITORY, 'deploy/compose/governance.yaml'), 'utf8')
  writeFileSync(join(config, 'governance.yaml'), image.at(onFreePorts(governance)))
  const { container, ports } = await start(t, {})
  const { services } = parse(readFileSync(join(REPOSITORY, 'deploy/compose.yaml'), 'utf8')) as {
    services: { governor: { healthcheck: { test: string[] } } }
  }
  const healthcheck = services.governor.healthcheck.test.slice(1).map((word) => ports.in(word))
  t.equal((await runInImage(image, { command: healthcheck })).code, 0)

  const outputs = []
  for (const command of execCommands()) {
    const { code, stdout } = await runInImage(image, { command })
    t.equal(code, 0, command.slice(1, 5).join(' '))
    outputs.push(stdout)
  }
  const key = outputs[0]!.trimEnd().split('\n').at(-1)!
  const call = (headers: Record<string, string>) => {
    return fetch(ports.in(`http://${POD_ADDRESS}:4141/v1/chat/completions`), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }] }),
    })
  }
  t.equal((await call({ authorization: `Bearer ${key}` })).status, 200, 'with the key')
  t.equal((await call({})).status, 401, 'without one: nobody is the pod here')
  container.signal('SIGTERM')
  t.equal((await container.ended).code, 0)
})

/** What the README has `docker compose exec` do, in its order. */
function execCommands(): string[][] {
  const readme = readFileSync(join(REPOSITORY, 'deploy/README.md'), 'utf8')
  const lines = readme.replaceAll(/\\\n\s*/g, '').split('\n')
  const found = lines.flatMap((line) => {
    return /^docker compose .*\bexec (?:-T )?governor (.*)$/.exec(line)?.[1] ?? []
  })
  if (found.length < 3) throw new Error('Expected keys create, audit tail and audit verify')
  return found.map((command) => command.split(' '))
}

t.test('another user id starts too, without the compile cache', { skip: !IS_ROOT }, async (t) => {
  volumes(t)
  const { code, stdout, stderr } = await runInImage(image, {
    command: [...GOVERNOR, '--version'],
    uid: image.uid + 1,
  })
  const { version } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as {
    version: string
  }
  t.strictSame({ code, stdout, stderr }, { code: 0, stdout: `${version}\n`, stderr: '' })
})

t.test('the compile cache is read on the read-only root, in the audit thread too', async (t) => {
  const { config } = volumes(t)
  const governance = readFileSync(join(REPOSITORY, 'deploy/compose/governance.yaml'), 'utf8')
  writeFileSync(join(config, 'governance.yaml'), image.at(onFreePorts(governance)))
  const { container } = await start(t, { NODE_DEBUG_NATIVE: 'COMPILE_CACHE' })
  container.signal('SIGTERM')
  const { stderr } = await container.ended
  const looked = [...stderr.matchAll(/reading cache from \S+ for \w+ (\S+?)\.\.\..*/g)]
  const hit = looked.filter(([line]) => line.includes('success'))
  const modules = new Set(hit.map(([, url]) => url?.replace(/.*\/governor\//, '')))
  t.ok(modules.has('src/cli/run.ts'))
  t.ok(modules.has('src/audit/wal-worker.ts'))
  // Node writes each module's cache by itself when a thread ends, and now and then not one of them.
  const missed = looked.filter((entry) => !hit.includes(entry)).map(([, url]) => url)
  t.ok(missed.length <= looked.length / 50, `nearly every module is there but ${missed.join(' ')}`)
})

t.test('a missing configuration is exit code 2 and one clear line', async (t) => {
  volumes(t)
  const { code, stderr } = await runInImage(image, { command: COMMAND })
  t.equal(code, 2)
  t.match(stderr, /governance\.yaml +Cannot read the file: there is none/)
})
