import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import t from 'tap'

import { configText, Site, startChild } from '../support/start-governor.ts'
import { until, within } from '../support/until.ts'

/** Goal: what `npm start` prints works as it is printed, at every start. */

function shell(command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', command], (error, stdout) => (error ? reject(error) : resolve(stdout)))
  })
}

t.test('the two printed commands answer 200 and 403, twice', async (t) => {
  const site = new Site(
    t.testdir(),
    configText({ listen: "{ proxy: '127.0.0.1:0', admin: '127.0.0.1:0' }" }),
  )
  let formerKey = ''
  for (const start of ['the first', 'the second']) {
    const child = await startChild(t, site, ['--dev'])
    await until('both commands', () => child.stdout.split('curl ').length === 3)
    t.notMatch(child.stdout, '\u001b', 'no colours')
    const commands = child.stdout.split('\n').filter((line) => line.trim().startsWith('curl '))
    t.equal(commands.length, 2)
    t.match(await shell(commands[0]!), /^HTTP\/1\.1 200 .*echo: Say hello/s, start)
    t.match(await shell(commands[1]!), /^HTTP\/1\.1 403 .*policy_denied/s, start)
    const [key] = /[0-9a-f-]{36}\.[\w-]{43}/.exec(child.stdout)!
    if (formerKey !== '') {
      const old = await shell(commands[0]!.replace(key, formerKey))
      t.match(old, /^HTTP\/1\.1 401 /, 'the key of the former start has ended')
    }
    formerKey = key
    t.equal(await child.kill('SIGINT'), 0)
  }
  const verified = await site.cli('audit', 'verify', '--strict')
  t.equal(verified.code, 0, verified.stdout)
})

t.test('without --dev there is no key and no command', async (t) => {
  const site = new Site(t.testdir(), configText())
  const child = await startChild(t, site)
  t.equal(await child.kill('SIGTERM'), 0)
  t.notMatch(child.stdout, /curl|[0-9a-f-]{36}\./)
})

t.test('a port that is taken, and a log in use, are errors that name them', async (t) => {
  const site = new Site(t.testdir({ one: {}, two: {} }) + '/one', configText())
  const child = await startChild(t, site)
  const same = await site.cli('run')
  t.equal(same.code, 2)
  t.match(same.stderr, String(child.process.pid), 'the process that has the log')

  const { port } = new URL(child.url)
  const listen = `{ proxy: '127.0.0.1:${port}', admin: '127.0.0.1:0' }`
  const other = new Site(join(site.directory, '../two'), configText({ listen }))
  const taken = await other.cli('run')
  t.equal(taken.code, 2)
  t.match(taken.stderr, `127.0.0.1:${port} (listen.proxy)`)
})

t.test('a signal to npm ends Governor, and npm with it', async (t) => {
  const site = new Site(t.testdir(), configText())
  const root = join(import.meta.dirname, '../..')
  const npm = spawn('npm', ['run', 'governor', '--', 'run', '--config', site.file], {
    cwd: root,
    detached: true,
  })
  t.teardown(() => {
    // What npm left behind, had it left anything.
    try {
      process.kill(-npm.pid!, 'SIGKILL')
    } catch {
      t.comment('nothing was left')
    }
  })
  let said = ''
  for (const pipe of [npm.stdout, npm.stderr]) {
    pipe.on('data', (chunk: Buffer) => (said += chunk.toString()))
  }
  await until('the start', () => said.includes('proxy'))
  const ended = once(npm, 'close')
  npm.kill('SIGTERM')
  // Its pipes close once nobody writes to them any more.
  await within('the end', ended)
  t.match(said, /"Stopped"/)
})
