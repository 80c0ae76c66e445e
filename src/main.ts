#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import process, { stderr, stdout } from 'node:process'

import { Command, CommanderError } from 'commander'

import { ignoreAmbient } from './cli/ambient.ts'
import { duration, percent } from './cli/arguments.ts'
import { addAuditCommands } from './cli/audit-commands.ts'
import { type CommandContext, withConfig, withConfigOption } from './cli/command-context.ts'
import { addKeysCommands } from './cli/keys-commands.ts'
import { NO_PROGRESS, showProgress } from './cli/progress.ts'
import { wallMs } from './clock.ts'

/** The command line: the only file with argv and exit codes (0 done, 1 the answer is no, 2 cannot be done). */

const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string }

// A reader that has seen enough (`| head`) is no failure.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  const why = error.code === 'ENOSPC' ? 'the disk is full' : error.message
  stderr.write(`Cannot write what there is to say: ${why}\n`, () => process.exit(2))
})

// What nobody can read changes no exit code.
stderr.on('error', () => {})

const write = (text: string): void => void stdout.write(text)
const writeError = (text: string): void => void stderr.write(text)
const finish = (code: number): void => {
  process.exitCode = code
}

const progress: CommandContext['progress'] = (what, results) => {
  const isShown = stderr.isTTY && (results === 'at the end' || !stdout.isTTY)
  return isShown ? showProgress(what, writeError) : NO_PROGRESS
}

ignoreAmbient(process.env, writeError)

const context = { version, write, writeError, finish, progress }
const onHangup = (reload: () => void): void => void process.on('SIGHUP', reload)

const program = new Command('governor')
  .description(
    'A policy sidecar for LLM calls: authenticates, limits, inspects, records, forwards.',
  )
  .version(version)
  .exitOverride()
  .showHelpAfterError('Run with --help for what there is.')

withConfigOption(program.command('run'))
  .description('run the sidecar')
  .option('--dev', 'make a key for a day and print two calls to try', false)
  .action(async ({ config: file, dev }: { config: string; dev: boolean }) => {
    const { run } = await import('./cli/run.ts')
    const stopped = new Promise((resolve) => {
      // A kubelet that restarts says it again: that must not end the calls that still may. A second
      // Ctrl-C does.
      process.on('SIGTERM', resolve).once('SIGINT', resolve)
    })
    const code = await run({ file, dev, version, write, writeError, stopped, onHangup })
    finish(code)
  })

program
  .command('init')
  .description('write a commented starter configuration')
  .option('--config <file>', 'where to write it', 'governance.yaml')
  .option('--force', 'overwrite what is there', false)
  .action(async ({ config: file, force }: { config: string; force: boolean }) => {
    const { init } = await import('./cli/init.ts')
    finish(init({ file, force, write, writeError }))
  })

program
  .command('check')
  .description('check configuration files and say all that is wrong')
  .argument('[files...]', 'governance.yaml by default')
  .option('--config <file>', 'the same as an argument')
  .option('--format <format>', 'text, json, github or sarif', 'text')
  .option('--print', 'print the effective configuration, secrets masked', false)
  .action(async (files: string[], given: { config?: string; format: string; print: boolean }) => {
    const { check } = await import('./cli/check.ts')
    const all = given.config === undefined ? files : [given.config, ...files]
    finish(check({ ...given, files: all, version, env: process.env, write, writeError }))
  })

program
  .command('test')
  .description('run the tests of policy files')
  .argument('[files...]', 'governance.yaml by default')
  .option('--config <file>', 'the same as an argument')
  .option('--coverage-min <percent>', 'policies of each file that must be covered', percent)
  .option('--junit <file>', 'write JUnit XML too')
  .action(async (files: string[], given: TestOptions) => {
    const { test } = await import('./cli/test.ts')
    const { config: file, coverageMin = null, junit = null } = given
    const all = file === undefined ? files : [file, ...files]
    finish(await test({ files: all, coverageMin, junit, env: process.env, write, writeError }))
  })

interface TestOptions {
  config?: string
  coverageMin?: number
  junit?: string
}

withConfigOption(program.command('explain'))
  .description('say what every policy makes of one call, and why')
  .argument('<request>', 'a request id of the audit, or a JSON file that describes a request')
  .option('--content', 'with prompt and answer, if kept; the audit records that you did', false)
  .action(async (what: string, given: { config: string; content: boolean }) => {
    const { config: file } = given
    const content = given.content ? { version } : null
    const { explainCall } = await import('./cli/explain.ts')
    await withConfig(
      context,
      file,
      ({ snapshot }) => explainCall({ snapshot, file, what, content, write, writeError }),
      'load',
    )
  })

withConfigOption(program.command('replay'))
  .description('hold recorded decisions against another file; 1 when something would change')
  .requiredOption('--against <file>', 'the candidate')
  .option('--since <duration>', 'only decisions of that long, such as 7d', duration)
  .option('--content', 'read prompts that were kept; the audit records that you did', false)
  .option('--json', 'the result as JSON', false)
  .action(async (given: ReplayGiven) => {
    const { replay } = await import('./cli/replay.ts')
    const { config: file, against, since, json } = given
    const sinceMs = since === undefined ? 0 : wallMs() - since
    await withConfig(context, file, async ({ snapshot }) =>
      replay({
        snapshot,
        against,
        sinceMs,
        json,
        content: given.content ? { version } : null,
        write,
        writeError,
      }),
    )
  })

interface ReplayGiven {
  config: string
  against: string
  since?: number
  content: boolean
  json: boolean
}

addKeysCommands(program, context)
addAuditCommands(program, context)

program
  .command('demo')
  .description('send allowed, denied, limited and streamed calls, show what happened, verify')
  .option('--config <file>', 'as every command has it; the demo brings its own and reads none')
  .action(async ({ config }: { config?: string }) => {
    const { demo } = await import('./cli/demo.ts')
    finish(await demo({ version, write, notRead: config }))
  })

withConfigOption(program.command('migrate'))
  .description(
    'make the tables of audit, ownership and keys in PostgreSQL, or bring them to this version',
  )
  .option('--url <url>', 'a database for all of them, instead of those of the configuration')
  .action(async ({ config: file, url }: { config: string; url?: string }) => {
    const { runMigrate } = await import('./cli/migrate.ts')
    const nowMs = wallMs()
    if (url !== undefined) finish(await runMigrate({ url, keysUrl: url, nowMs, write, writeError }))
    else {
      await withConfig(context, file, ({ snapshot: { audit: log, auth, ownership } }) => {
        return runMigrate({
          url: log.ship?.kind === 'postgres' ? log.ship.url : null,
          ownersUrl: ownership.store === 'postgres' ? ownership.url : null,
          keysUrl: auth.keys.postgres?.url || null,
          nowMs,
          write,
          writeError,
        })
      })
    }
  })

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) finish(error.exitCode === 0 ? 0 : 2)
  else {
    stderr.write(`${(error as Error).message}\n`)
    finish(2)
  }
}
