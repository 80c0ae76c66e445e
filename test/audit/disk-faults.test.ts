import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import t from 'tap'

import { epochFiles } from '../../src/audit/file.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { faultMatrix } from '../campaign/faults.ts'
import { cannotTrace, TRACED_ENV } from '../support/strace.ts'
import { openWal, rows } from './support/log.ts'

/**
 * A writer under load whose system calls fail as strace is told. Needs Linux, strace and the right to
 * trace; where one is missing the test says so, since a disk that fails cannot be had otherwise.
 */
const CHILD = fileURLToPath(new URL('./support/writer-child.ts', import.meta.url))
const skip = cannotTrace()

/** `ends` is whether nobody can say any more what the file holds, so that a new one is begun. */
const FAULTS: readonly { name: string; inject: string; ends: boolean }[] = [
  { name: 'one fsync that fails', inject: 'fsync:error=EIO:when=30', ends: true },
  { name: 'fsyncs that fail again and again', inject: 'fsync:error=EIO:when=30+25', ends: true },
  { name: 'an fsync for which there is no room', inject: 'fsync:error=ENOSPC:when=30', ends: true },
  { name: 'one write that fails', inject: 'pwrite64:error=EIO:when=150', ends: true },
  {
    name: 'writes that find a full disk',
    inject: 'pwrite64:error=ENOSPC:when=150+150',
    ends: false,
  },
  { name: 'writes that are interrupted', inject: 'pwrite64:error=EINTR:when=20+20', ends: false },
]

const ACKNOWLEDGED = 700

for (const { name, inject, ends } of FAULTS) {
  t.test(`${name}: nothing acknowledged is lost`, { skip }, async (t) => {
    const path = join(t.testdir(), 'audit.db')
    const trace = ['-f', '-qq', '-o', '/dev/null', '-e', `inject=${inject}`]
    const child = spawn('strace', [...trace, process.execPath, CHILD, path, 'k'], {
      stdio: ['ignore', 'pipe', 2],
      env: TRACED_ENV,
      // strace and what it traces are one group, to be killed as one.
      detached: true,
    })
    const exited = once(child, 'exit')
    let out = ''
    let lines = 0
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      const text = chunk.toString()
      out += text
      lines += text.split('\n').length - 1
      if (lines > ACKNOWLEDGED) break
    }
    process.kill(-child.pid!, 'SIGKILL')
    await exited
    const acknowledged = out.split('\n').slice(1, -1)
    t.ok(acknowledged.length >= ACKNOWLEDGED, 'it went on')
    const files = epochFiles(path)
    t.equal(files.length > 1, ends, `${files.length} files`)

    const killed = verifyLog(path, { strict: false })
    t.strictSame([killed.exitCode, killed.problems], [0, []])
    await (await openWal(path, { signs: true })).close()
    const recovered = verifyLog(path, { strict: true })
    t.strictSame([recovered.exitCode, recovered.problems], [0, []])
    const kept = new Set(files.flatMap((file) => rows(file.path).map((row) => row.request_id)))
    t.strictSame(
      acknowledged.filter((id) => !kept.has(id)),
      [],
      'acked ⊆ recovered',
    )
  })
}

t.test(
  'each system call of the audit thread fails once, or is where it is killed',
  { skip },
  async (t) => {
    const { problems, fields, callsMade, answers } = await faultMatrix({
      directory: t.testdir(),
      seed: 3,
      isShort: true,
    })
    t.strictSame(problems, [])
    t.ok(callsMade['run']!.includes('fsync') && callsMade['run']!.includes('pwrite64'))
    t.ok(fields >= callsMade['run']!.length + 4, `${fields} fields`)
    t.ok(answers > 50)
  },
)
