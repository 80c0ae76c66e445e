import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execPath } from 'node:process'

import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { parse } from 'yaml'

import { signRoot } from '../../src/audit/fleet-root.ts'
import { Signer } from '../../src/audit/signing-key.ts'
import { wallMs } from '../../src/clock.ts'
import { loadConfig } from '../../src/load-config.ts'
import { all, execForm, last, parseDockerfile } from './support/dockerfile.ts'
import { REPOSITORY } from './support/image.ts'
import { type PodContainer, readJob, readManifest } from './support/manifest.ts'

// Goal: deploy/kubernetes/pod.yaml, and the jobs beside it, are admitted under the restricted Pod Security profile and agree with
// the image and with their own configuration. Method: every field of the profile, for every container,
// and every name that one part of the files uses for another. That it runs is image.test.ts.

const { kinds, pod, configMap, governor, app } = readManifest()
const { spec } = pod
const everyContainer: PodContainer[] = [...spec.initContainers, ...spec.containers]
const FINAL = parseDockerfile(readFileSync(join(REPOSITORY, 'Dockerfile'), 'utf8')).at(-1)!
const GOVERNANCE = configMap.data['governance.yaml']!
const ENV = { POD_NAMESPACE: 'shop', POD_SERVICE_ACCOUNT: 'checkout' }

/** The configuration of the ConfigMap, with the Secret's file and the data in a directory of the test. */
function stage(t: Test): string {
  const folder = t.testdir({ secrets: { 'api-key': 'sk-provider\n' } })
  const file = join(folder, 'governance.yaml')
  writeFileSync(
    file,
    GOVERNANCE.replaceAll('/run/secrets/governor', join(folder, 'secrets')).replaceAll(
      '/data/',
      join(folder, 'data/'),
    ),
  )
  return file
}

t.test('pod.yaml holds a ConfigMap and a Pod, and no secret', (t) => {
  t.strictSame(kinds, ['ConfigMap', 'Pod'])
  t.notMatch(readFileSync(join(REPOSITORY, 'deploy/kubernetes/pod.yaml'), 'utf8'), /sk-/)
  t.end()
})

const publish = readJob('audit-publish.yaml')
const prune = readJob('audit-prune.yaml')
const JOBS_GOVERNANCE = publish.documents.find((document) => document.kind === 'ConfigMap')!.data[
  'governance.yaml'
]!

for (const { container, inherited } of [
  ...everyContainer.map((container) => ({ container, inherited: spec.securityContext })),
  ...[publish, prune].map(({ own, spec }) => ({ container: own, inherited: spec.securityContext })),
]) {
  t.test(
    `container ${container.name} of ${container.args?.[1] ?? 'the pod'} meets the restricted profile`,
    (t) => {
      const own = container.securityContext ?? {}
      const effective = { ...inherited, ...own }
      t.equal(effective.runAsNonRoot, true, 'runAsNonRoot')
      t.equal((effective.runAsUser ?? 0) > 0, true, 'runAsUser is a number other than 0')
      t.equal((effective.runAsGroup ?? 0) > 0, true, 'runAsGroup is a number other than 0')
      t.equal(own.allowPrivilegeEscalation, false, 'allowPrivilegeEscalation')
      t.strictSame(own.capabilities, { drop: ['ALL'] }, 'capabilities: all dropped, none added')
      t.equal(effective.seccompProfile?.type, 'RuntimeDefault', 'seccompProfile')
      t.equal(own.readOnlyRootFilesystem, true, 'readOnlyRootFilesystem (more than the profile)')
      t.equal(own.privileged ?? false, false, 'not privileged')
      t.equal(own.procMount, undefined, 'procMount is the default')
      t.equal(own.seLinuxOptions, undefined, 'seLinuxOptions are the default')
      t.equal(own.windowsOptions, undefined, 'no windowsOptions')
      t.strictSame((container.ports ?? []).map(({ hostPort }) => hostPort).filter(Boolean), [])
      const probes = [container.startupProbe, container.readinessProbe, container.livenessProbe]
      t.strictSame(probes.map((probe) => probe?.httpGet.host).filter(Boolean), [], 'no probe host')
      t.equal(container.lifecycle, undefined, 'no lifecycle hook with a host')
      t.match(container.resources?.limits?.['memory'], /^\d+Mi$/, 'a memory limit')
      t.match(container.resources?.requests?.['memory'], /^\d+Mi$/, 'a memory request')
      t.end()
    },
  )
}

t.test('the pod meets the restricted profile', (t) => {
  t.equal(spec.hostNetwork ?? false, false, 'hostNetwork')
  t.equal(spec.hostPID ?? false, false, 'hostPID')
  t.equal(spec.hostIPC ?? false, false, 'hostIPC')
  t.equal(spec.shareProcessNamespace ?? false, false, 'the application cannot see our process')
  t.equal(spec.securityContext.runAsNonRoot, true)
  t.equal(spec.securityContext.sysctls, undefined, 'sysctls')
  t.equal(spec.automountServiceAccountToken, false, 'no token nobody needs')
  const types = spec.volumes.map((volume) => Object.keys(volume).filter((key) => key !== 'name'))
  t.strictSame(types, [['configMap'], ['secret'], ['emptyDir']], 'only permitted volume types')
  t.end()
})

t.test('the sidecar is a native one and runs the image as it is', (t) => {
  t.equal(governor.restartPolicy, 'Always')
  t.equal(spec.initContainers[0], governor, 'before every other init container')
  t.equal(governor.command, undefined)
  t.equal(governor.args, undefined)
  const { version } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as {
    version: string
  }
  t.equal(governor.image, `governor:${version}`)
  const { runAsUser, runAsGroup } = governor.securityContext!
  t.equal(`${runAsUser}:${runAsGroup}`, last(FINAL, 'USER'), 'whose compile cache is in the image')
  t.equal(spec.securityContext.fsGroup, runAsGroup)
  t.equal(governor.resources?.limits?.['memory'], '320Mi')
  t.end()
})

t.test('mounts are where the image and the configuration look', (t) => {
  const mounts = new Map(governor.volumeMounts!.map((mount) => [mount.mountPath, mount]))
  const config = execForm(last(FINAL, 'CMD')).at(-1)
  t.equal(config, '/etc/governor/governance.yaml')
  t.strictSame(mounts.get('/etc/governor'), {
    name: 'config',
    mountPath: '/etc/governor',
    readOnly: true,
  })
  t.strictSame(mounts.get('/run/secrets/governor')?.readOnly, true)
  const [data] = execForm(last(FINAL, 'VOLUME'))
  t.strictSame(mounts.get(data!), { name: 'data', mountPath: data })
  t.strictSame(
    [...mounts.values()].filter(({ subPath }) => subPath !== undefined),
    [],
  )
  t.strictSame(
    [...mounts.values()].map(({ name }) => name),
    spec.volumes.map(({ name }) => name),
  )
  const loaded = loadConfig(stage(t), { env: ENV, forRun: true })
  if (!loaded.ok) throw new Error('Expected a good configuration')
  const { audit } = loaded.snapshot
  const room = parseGib(spec.volumes.find(({ name }) => name === 'data')!.emptyDir!.sizeLimit)
  t.ok(room > audit.localBytesMax * 1.1, 'the kubelet does not evict what Governor may write')
  t.equal(spec.volumes.find(({ name }) => name === 'openai')!.secret!.defaultMode, 0o440)
  t.end()
})

function parseGib(text: string): number {
  return Number(/^(\d+)Gi$/.exec(text)?.[1]) * 2 ** 30
}

t.test('the application has OPENAI_BASE_URL and nothing else of Governor', (t) => {
  const env = [{ name: 'OPENAI_BASE_URL', value: 'http://127.0.0.1:4141/v1' }]
  t.strictSame(app.env, env)
  t.equal(app.volumeMounts, undefined, 'neither the Secret nor the data')
  t.not(app.securityContext!.runAsUser, governor.securityContext!.runAsUser)
  t.end()
})

t.test('the downward API gives what auth.pod asks for', (t) => {
  t.strictSame(governor.env, [
    { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
    {
      name: 'POD_SERVICE_ACCOUNT',
      valueFrom: { fieldRef: { fieldPath: 'spec.serviceAccountName' } },
    },
  ])
  const loaded = loadConfig(stage(t), { env: ENV, forRun: true })
  if (!loaded.ok) throw new Error('Expected a good configuration')
  t.match(loaded.snapshot.auth.pod, { tenant: 'shop', user: 'checkout' })
  t.equal(loaded.snapshot.upstreams[0]!.credential, 'sk-provider')
  t.end()
})

t.test('probes ask the health listener, and stopping has time for draining', (t) => {
  const loaded = loadConfig(stage(t), { env: ENV, forRun: true })
  if (!loaded.ok) throw new Error('Expected a good configuration')
  const { listen, timeouts } = loaded.snapshot
  t.strictSame(listen.proxy, { host: '127.0.0.1', port: 4141 })
  t.strictSame(listen.health, { host: '0.0.0.0', port: 4143 })
  t.strictSame(governor.ports, [{ name: 'health', containerPort: 4143 }])
  t.strictSame(governor.startupProbe?.httpGet, { path: '/readyz', port: 'health' })
  t.strictSame(governor.readinessProbe?.httpGet, { path: '/readyz', port: 'health' })
  t.strictSame(governor.livenessProbe?.httpGet, { path: '/livez', port: 'health' })
  const exposed = all(FINAL, 'EXPOSE').flatMap(({ text }) => text.split(' ').map(Number))
  t.strictSame(exposed, [listen.proxy.port, listen.health?.port])
  const neededMs = timeouts.drainMs + 2 * timeouts.commitMs
  t.ok(spec.terminationGracePeriodSeconds * 1000 > neededMs, 'drain and the last commits fit')
  t.end()
})

t.test('governor check accepts the ConfigMap with notes about the pod only', (t) => {
  const file = stage(t)
  const { status, stdout, stderr } = spawnSync(
    execPath,
    [join(REPOSITORY, 'src/main.ts'), 'check', file],
    { env: ENV, encoding: 'utf8' },
  )
  const notes = stdout.split('\n').filter((line) => line.includes('Note:'))
  t.strictSame(
    { status, stderr, notes: notes.map((note) => note.slice(note.indexOf('Note:'))) },
    {
      status: 0,
      stderr: '',
      notes: ['Note: Limits in "memory" are not shared: each pod counts for itself'],
    },
  )
  t.end()
})

t.test('the official SDK wants some OPENAI_API_KEY, as deploy/README.md says', (t) => {
  t.throws(
    () => new OpenAI({ baseURL: 'http://127.0.0.1:4141/v1', apiKey: null as unknown as string }),
    /Missing credentials/,
  )
  t.match(readFileSync(join(REPOSITORY, 'deploy/README.md'), 'utf8'), 'OPENAI_API_KEY=unused')
  t.end()
})

for (const { file, job, everyTime } of [
  { file: 'audit-publish.yaml', job: publish, everyTime: /^\d+ \* \* \* \*$/ },
  { file: 'audit-prune.yaml', job: prune, everyTime: /^\d+ \d+ \* \* \*$/ },
]) {
  t.test(`${file} runs one job at a time, and tries none twice`, (t) => {
    const { schedule, concurrencyPolicy, jobTemplate } = job.job.spec
    t.match(schedule, everyTime)
    t.equal(concurrencyPolicy, 'Forbid')
    t.equal(jobTemplate.spec.backoffLimit, 0)
    t.equal(job.own.image, governor.image)
    t.equal(job.own.command, undefined)
    t.equal(job.spec.automountServiceAccountToken, false)
    t.equal(job.spec.securityContext.fsGroup, job.own.securityContext!.runAsGroup)
    t.strictSame(
      job.own.volumeMounts!.map(({ name }) => name),
      job.spec.volumes.map(({ name }) => name),
    )
    const { hostNetwork = false, hostPID = false, hostIPC = false } = job.spec
    t.strictSame([hostNetwork, hostPID, hostIPC], [false, false, false])
    t.end()
  })
}

t.test('both jobs have one configuration and volume, and Secrets of their own', (t) => {
  t.strictSame(publish.kinds, ['ConfigMap', 'PersistentVolumeClaim', 'CronJob'])
  t.strictSame(prune.kinds, ['CronJob'])
  const [one, other] = [publish, prune].map(({ spec: { volumes } }) => volumes)
  t.strictSame([one![0], one![2]], [other![0], other![2]])
  t.not(one![1]!.secret!.secretName, other![1]!.secret!.secretName, 'a reader and the owner')
  const minutes = [publish, prune].map(({ job }) => job.spec.schedule.split(' ')[0])
  t.not(minutes[0], minutes[1], 'not when the other has the volume')
  t.end()
})

t.test('the jobs find database, key and place in their configuration', (t) => {
  const folder = t.testdir({ secrets: { url: 'postgres://reader@127.0.0.1:1/audit\n' }, data: {} })
  const file = join(folder, 'governance.yaml')
  writeFileSync(
    file,
    JOBS_GOVERNANCE.replaceAll('/run/secrets/governor', join(folder, 'secrets')).replaceAll(
      '/data/',
      join(folder, 'data/'),
    ),
  )
  const run = ({ own }: typeof publish, words: readonly string[]) => {
    const mounts = own.volumeMounts!.map(({ mountPath }) => mountPath)
    t.strictSame(mounts, ['/etc/governor', '/run/secrets/governor', '/data'])
    const args = own.args!.slice(0, -1)
    t.strictSame(args, [...words, '--config'])
    t.equal(own.args!.at(-1), execForm(last(FINAL, 'CMD')).at(-1))
    const main = join(REPOSITORY, 'src/main.ts')
    const ran = spawnSync(execPath, [main, ...args, file], { encoding: 'utf8' })
    t.strictSame([ran.status, ran.stdout], [2, ''], 'it has everything but what is elsewhere')
    return ran.stderr
  }
  const published = run(publish, ['audit', 'publish'])
  t.match(published, /^Nothing was published: .*ECONNREFUSED.*127\.0\.0\.1:1\n$/)
  const removal = ['audit', 'prune', '--url']
  t.match(run(prune, removal), /^Nothing was removed: no root is published \(audit\.root\)\./)
  const base = join(folder, 'data/audit.db')
  writeFileSync(join(folder, 'data/root'), signRoot([], Signer.open(base, wallMs())))
  t.match(run(prune, removal), /^Cannot ask postgres:\/\/127\.0\.0\.1:1\/audit: .*ECONNREFUSED/)
  t.end()
})

t.test('the network policy closes the way around the sidecar of this pod', async (t) => {
  const text = readFileSync(join(REPOSITORY, 'deploy/kubernetes/network-policy.yaml'), 'utf8')
  const { kind, spec: policy } = parse(text) as NetworkPolicy
  t.equal(kind, 'NetworkPolicy')
  t.strictSame(policy.podSelector, { matchLabels: pod.metadata.labels })
  t.strictSame(policy.policyTypes, ['Ingress', 'Egress'])
  const open = policy.egress.filter(({ to }) => !to.every((peer) => 'podSelector' in peer))
  t.strictSame(open, [], 'nothing but pods that are named, and no block of addresses')
  t.strictSame(
    policy.egress.flatMap(({ ports }) => ports.map(({ port }) => port)),
    [53, 53, 3128],
  )
  const health = governor.ports?.find(({ name }) => name === 'health')?.containerPort
  t.strictSame(policy.ingress[0]?.ports, [{ protocol: 'TCP', port: health }])
})

interface NetworkPolicy {
  readonly kind: string
  readonly spec: {
    readonly podSelector: object
    readonly policyTypes: readonly string[]
    readonly ingress: readonly { readonly ports: readonly { readonly port: number }[] }[]
    readonly egress: readonly {
      readonly to: readonly object[]
      readonly ports: readonly { readonly port: number }[]
    }[]
  }
}
