#!/usr/bin/env node
import { existsSync, readFileSync } from 'node:fs'
import process, { stderr, stdout } from 'node:process'

import { Command, CommanderError, Option } from 'commander'

import { append, count, duration, label, lifetime, percent } from './cli/arguments.ts'
import type { QueryGiven, VerifyGiven } from './cli/audit-given.ts'
import { wallMs } from './clock.ts'
import { loadConfig, renderProblems } from './load-config.ts'

/** The command line: the only file with argv and exit codes (0 done, 1 the answer is no, 2 cannot be done). */

const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string }

// A reader that has seen enough (`| head`) is no failure.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 2)
})

const write = (text: string): void => void stdout.write(text)
const writeError = (text: string): void => void stderr.write(text)
const finish = (code: number): void => {
  process.exitCode = code
}

const onHangup = (reload: () => void): void => void process.on('SIGHUP', reload)

const program = new Command('governor')
  .description(
    'A policy sidecar for LLM calls: authenticates, limits, inspects, records, forwards.',
  )
  .version(version)
  .exitOverride()
  .showHelpAfterError('Run with --help for what there is.')

const config = (command: Command): Command =>
  command.option('--config <file>', 'the configuration', 'governance.yaml')

config(program.command('run'))
  .description('run the sidecar')
  .option('--dev', 'make a key for a day and print two calls to try', false)
  .action(async ({ config: file, dev }: { config: string; dev: boolean }) => {
    const { run } = await import('./cli/run.ts')
    const stopped = new Promise((resolve) => {
      process.once('SIGTERM', resolve).once('SIGINT', resolve)
    })
    const code = await run({ file, dev, version, write, stopped, onHangup })
    finish(code)
  })

program
  .command('init')
  .description('write a commented starter configuration')
  .option('--config <file>', 'where to write it', 'governance.yaml')
  .option('--force', 'overwrite what is there', false)
  .action(async ({ config: file, force }: { config: string; force: boolean }) => {
    const { init } = await import('./cli/init.ts')
    finish(init({ file, force, write }))
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
    finish(check({ ...given, files: all, version, env: process.env, write }))
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
    finish(await test({ files: all, coverageMin, junit, env: process.env, write }))
  })

interface TestOptions {
  config?: string
  coverageMin?: number
  junit?: string
}

config(program.command('explain'))
  .description('say what every policy makes of one call, and why')
  .argument('<request>', 'a request id of the audit, or a JSON file that describes a request')
  .action(async (what: string, { config: file }: { config: string }) => {
    const { explainCall } = await import('./cli/explain.ts')
    await withConfig(file, ({ snapshot }) => explainCall({ snapshot, file, what, write }), 'load')
  })

config(program.command('replay'))
  .description('hold recorded decisions against another file; 1 when something would change')
  .requiredOption('--against <file>', 'the candidate')
  .option('--since <duration>', 'only decisions of that long, such as 7d', duration)
  .option('--json', 'the result as JSON', false)
  .action(async (given: { config: string; against: string; since?: number; json: boolean }) => {
    const { replay } = await import('./cli/replay.ts')
    const { config: file, against, since, json } = given
    const sinceMs = since === undefined ? 0 : wallMs() - since
    await withConfig(file, async ({ snapshot }) =>
      replay({ snapshot, against, sinceMs, json, write }),
    )
  })

const keys = program.command('keys').description('make, list and revoke keys')

interface CreateOptions {
  config: string
  tenant: string
  name: string
  user: string
  role: string[]
  label: Record<string, string>
  expires?: number
}

config(keys.command('create'))
  .description('make a key; it is shown once, alone on the last line')
  .requiredOption('--tenant <tenant>', 'whose it is')
  .requiredOption('--name <name>', 'what to call it')
  .option('--user <user>', 'the person or service behind it', '')
  .option('--role <role>', 'a role, repeatable', append, [])
  .option('--label <name=value>', 'a label, repeatable', label, {})
  .option('--expires <duration>', 'how long it lives, such as 90d', lifetime)
  .action(async (given: CreateOptions) => {
    const { keysCreate } = await import('./cli/keys.ts')
    const expiresAtMs = given.expires === undefined ? null : wallMs() + given.expires
    const { tenant, name, user, role: roles, label: labels } = given
    const spec = { tenant, name, user, roles, labels, expiresAtMs }
    await withConfig(given.config, (context) => keysCreate(context, spec))
  })

config(keys.command('list'))
  .description('list all keys, never their secrets')
  .option('--json', 'one JSON object a line', false)
  .action(async (given: { config: string; json: boolean }) => {
    const { keysList } = await import('./cli/keys.ts')
    await withConfig(given.config, (context) => keysList(context, given.json))
  })

config(keys.command('revoke'))
  .description('end a key; running sidecars notice within a second')
  .argument('<key_id>', 'the part of the key before the dot')
  .action(async (keyId: string, given: { config: string }) => {
    const { keysRevoke } = await import('./cli/keys.ts')
    await withConfig(given.config, (context) => keysRevoke(context, keyId))
  })

const audit = program.command('audit').description('read and verify the audit log')

config(audit.command('tail'))
  .description('show the last entries')
  .option('-n, --lines <count>', 'how many', count, 10)
  .option('-f, --follow', 'and those to come', false)
  .option('--json', 'one JSON object a line', false)
  .action(async (given: { config: string; lines: number; follow: boolean; json: boolean }) => {
    const { auditTail } = await import('./cli/audit.ts')
    const stop = new AbortController()
    process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort())
    const { lines, follow, json } = given
    await withConfig(given.config, ({ snapshot }) =>
      auditTail({ path: snapshot.audit.path, lines, follow, json, write, signal: stop.signal }),
    )
  })

config(audit.command('verify'))
  .description(
    'check every hash, link and signature; 0 it holds, 1 tampered or missing, 2 not enough evidence',
  )
  .option('--keys <file>', 'trust these public keys instead of the list beside the log')
  .option('--checkpoints <file>', 'hold these published checkpoints against the log')
  .option('--bundle <file>', 'verify what audit export --all wrote; needs no configuration')
  .option('--url [url]', 'verify PostgreSQL: audit.ship.postgres, or this one')
  .option('--strict', 'an end that nothing attests is not enough evidence', false)
  .option('--json', 'the result as JSON', false)
  .action(async (given: VerifyGiven) => {
    const { auditVerify, auditVerifyBundle } = await import('./cli/audit.ts')
    const { strict, json, keys: list = null, checkpoints: published = null, bundle } = given
    if (bundle !== undefined) {
      finish(await auditVerifyBundle({ path: bundle, strict, keys: list, published, json, write }))
      return
    }
    if (given.url !== undefined) {
      const { auditVerifyPostgres, databaseUrl } = await import('./cli/audit-postgres.ts')
      const named = given.url
      await withConfig(given.config, ({ snapshot }) => {
        const asked = { url: databaseUrl(named, snapshot), json, write }
        return auditVerifyPostgres(asked, { strict, keys: list })
      })
      return
    }
    await withConfig(given.config, async ({ snapshot }) =>
      auditVerify({
        path: snapshot.audit.path,
        strict,
        keys: list,
        published: published ?? publishedOf(snapshot),
        json,
        write,
      }),
    )
  })

config(audit.command('query'))
  .description('show the newest decisions that match, oldest first')
  .option('--tenant <tenant>', 'of this tenant')
  .option('--key <key>', 'of this key, by id or name')
  .option('--model <model>', 'for this model, as the call named it')
  .option('--decision <decision>', 'allow or deny')
  .option('--policy <id>', 'decided by this policy')
  .option('--since <duration>', 'only of that long, such as 7d', duration)
  .option('-n, --limit <count>', 'at most so many', count, 1000)
  .option('--url [url]', 'ask PostgreSQL, for all pods: audit.ship.postgres, or this one')
  .option('--json', 'one JSON object a line', false)
  .action(async (given: QueryGiven) => {
    const { auditQuery } = await import('./cli/audit-query.ts')
    const { tenant = null, key = null, model = null, decision = null, policy = null } = given
    const filter = { tenant, key, model, decision, policy, limit: given.limit }
    const sinceUs = sinceUsOf(given.since)
    if (given.url !== undefined) {
      const { auditQueryPostgres, databaseUrl } = await import('./cli/audit-postgres.ts')
      const { url: named, json } = given
      await withConfig(given.config, ({ snapshot }) => {
        const asked = { url: databaseUrl(named, snapshot), json, write }
        return auditQueryPostgres(asked, { ...filter, sinceUs })
      })
      return
    }
    await withConfig(
      given.config,
      async ({
        snapshot: {
          audit: { path },
        },
      }) => auditQuery({ path, filter: { ...filter, sinceUs }, json: given.json, write }),
    )
  })

config(audit.command('export'))
  .description('write entries as JSON lines or CSV, or the whole log to verify elsewhere')
  .addOption(new Option('--format <format>').choices(['jsonl', 'csv']).default('jsonl'))
  .option('--since <duration>', 'only of that long, such as 30d', duration)
  .option('--all', 'everything, as a bundle for audit verify --bundle', false)
  .action(
    async (given: { config: string; format: 'jsonl' | 'csv'; since?: number; all: boolean }) => {
      const { auditExport } = await import('./cli/audit-query.ts')
      const sinceUs = sinceUsOf(given.since)
      const format = given.all ? 'bundle' : given.format
      await withConfig(
        given.config,
        async ({
          snapshot: {
            audit: { path },
          },
        }) => auditExport({ path, format, sinceUs, write, writeError }),
      )
    },
  )

config(audit.command('erase'))
  .description('delete the personal values of a caller or of one call; entries stay and verify')
  .option('--subject <subject>', 'a tenant and its user, or else its key id: acme/alice')
  .option('--request <id>', 'one call')
  .action(async (given: { config: string; subject?: string; request?: string }) => {
    const { auditErase } = await import('./cli/audit-erase.ts')
    const { config: file, subject = null, request: requestId = null } = given
    await withConfig(
      file,
      async ({
        snapshot: {
          audit: { path },
        },
      }) => auditErase({ path, version, subject, requestId, write }),
    )
  })

config(audit.command('prune'))
  .description('remove entries older than audit.retention that a signed checkpoint covers')
  .option('--older-than <duration>', 'instead of audit.retention, such as 180d', duration)
  .action(async (given: { config: string; olderThan?: number }) => {
    const { auditPrune } = await import('./cli/audit-prune.ts')
    const { config: file, olderThan: olderThanMs = null } = given
    await withConfig(file, async ({ snapshot }) =>
      auditPrune({ snapshot, version, olderThanMs, write }),
    )
  })

config(audit.command('rotate-key'))
  .description('sign checkpoints with a new key from now on; running sidecars notice')
  .action(async (given: { config: string }) => {
    const { auditRotateKey } = await import('./cli/audit.ts')
    await withConfig(given.config, async ({ snapshot }) =>
      auditRotateKey({ path: snapshot.audit.path, version, write }),
    )
  })

config(audit.command('ship'))
  .description('ship what is left in logs nobody writes any more; 1 when something cannot be')
  .argument('[logs...]', 'audit.path by default')
  .action(async (paths: string[], { config: file }: { config: string }) => {
    const { auditShip } = await import('./cli/audit-ship.ts')
    await withConfig(file, ({ snapshot: { audit: log } }) =>
      auditShip({ paths: paths.length > 0 ? paths : [log.path], sink: log.ship, write }),
    )
  })

program
  .command('demo')
  .description('send allowed, denied, limited and streamed calls, show what happened, verify')
  .action(async () => {
    const { demo } = await import('./cli/demo.ts')
    finish(await demo({ version, write }))
  })

config(program.command('migrate'))
  .description('make the tables of the audit in PostgreSQL, or bring them to this version')
  .option('--url <url>', 'the database, instead of audit.ship.postgres')
  .action(async ({ config: file, url }: { config: string; url?: string }) => {
    const { runMigrate } = await import('./cli/migrate.ts')
    const nowMs = wallMs()
    if (url !== undefined) finish(await runMigrate({ url, nowMs, write }))
    else {
      await withConfig(file, ({ snapshot: { audit: log } }) => {
        return runMigrate({
          url: log.ship?.kind === 'postgres' ? log.ship.url : null,
          nowMs,
          write,
        })
      })
    }
  })

type LoadedSnapshot = Extract<ReturnType<typeof loadConfig>, { ok: true }>['snapshot']

async function withConfig(
  file: string,
  act: (context: {
    snapshot: LoadedSnapshot
    version: string
    write: typeof write
  }) => Promise<number>,
  candidate: 'load' | 'ignore' = 'ignore',
): Promise<void> {
  const loaded = loadConfig(file, { forRun: false, candidate })
  if (!loaded.ok) {
    stderr.write(renderProblems(loaded.problems))
    finish(2)
    return
  }
  finish(await act({ snapshot: loaded.snapshot, version, write }))
}

function sinceUsOf(since: number | undefined): number {
  return since === undefined ? 0 : (wallMs() - since) * 1000
}

/** The file checkpoints are published to, once there is one. */
function publishedOf({ audit: { checkpoints } }: LoadedSnapshot): string | null {
  return checkpoints.file !== null && existsSync(checkpoints.file) ? checkpoints.file : null
}

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) finish(error.exitCode === 0 ? 0 : 2)
  else {
    stderr.write(`${(error as Error).message}\n`)
    finish(2)
  }
}
