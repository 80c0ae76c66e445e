import { existsSync } from 'node:fs'
import process from 'node:process'

import { type Command, Option } from 'commander'

import { count, duration, some } from './arguments.ts'
import { addCopyCommands } from './audit-copy-commands.ts'
import type { EraseGiven, PruneGiven, QueryGiven, TailGiven, VerifyGiven } from './audit-given.ts'
import type { VerifyAsked } from './audit.ts'
import {
  type CommandContext,
  type LoadedSnapshot,
  sinceUsOf,
  withConfig,
  withConfigOption,
} from './command-context.ts'
import { keepHeapFlat } from './flat-heap.ts'

/** Adds `governor audit` and what it does. */
export function addAuditCommands(program: Command, context: CommandContext): void {
  const audit = program.command('audit').description('read and verify the audit log')
  audit.hook('preAction', keepHeapFlat)
  addTail(audit, context)
  addVerify(audit, context)
  addQuery(audit, context)
  addCopyCommands(audit, context)
  addErase(audit, context)
  addPrune(audit, context)
  addRotateKey(audit, context)
  addShip(audit, context)
}

const CONTENT =
  'and prompts and answers that were kept (audit.content: full); the audit records that you did'

function readingOf({ content }: { readonly content: boolean }, { version }: CommandContext) {
  return content ? { version } : null
}

function addTail(audit: Command, context: CommandContext): void {
  const { write, writeError } = context
  withConfigOption(audit.command('tail'))
    .description('show the last entries')
    .option('-n, --lines <count>', 'how many', count, 10)
    .option('-f, --follow', 'and those to come', false)
    .option('--url [url]', 'of PostgreSQL, for all pods: audit.ship.postgres, or this one')
    .option('--content', CONTENT, false)
    .option('--json', 'one JSON object a line', false)
    .action(async (given: TailGiven) => {
      const { auditTail } = await import('./audit.ts')
      const stop = new AbortController()
      process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort())
      const { lines, follow, json, url: named } = given
      if (given.url !== undefined && given.content) {
        context.writeError(
          'Prompts and answers are not shipped: ask without --url, where they lie\n',
        )
        context.finish(2)
        return
      }
      if (named !== undefined) {
        const { auditTailPostgres } = await import('./audit-tail-postgres.ts')
        const { databaseUrl } = await import('./audit-postgres.ts')
        const asked = { lines, follow, json, write, writeError, signal: stop.signal }
        await withConfig(context, given.config, ({ snapshot }) =>
          auditTailPostgres({ ...asked, url: databaseUrl(named, snapshot) }),
        )
        return
      }
      const asked = { lines, follow, json, content: readingOf(given, context) }
      await withConfig(context, given.config, ({ snapshot: { audit: log } }) =>
        auditTail({ ...asked, path: log.path, write, writeError, signal: stop.signal }),
      )
    })
}

function addVerify(audit: Command, context: CommandContext): void {
  withConfigOption(audit.command('verify'))
    .description(
      'check every hash, link and signature; 0 it holds, 1 tampered or missing, 2 not enough evidence',
    )
    .option('--keys <file>', 'trust these public keys instead of the list beside the log')
    .option('--checkpoints <file>', 'hold these published checkpoints against the log')
    .option('--bundle <file>', 'verify what audit export --all wrote; needs no configuration')
    .option('--url [url]', 'verify PostgreSQL: audit.ship.postgres, or this one')
    .option(
      '--root [file]',
      'hold the published root of all writers against it: audit.root, or this',
    )
    .option('--strict', 'an end that nothing attests is not enough evidence', false)
    .option('--json', 'the result as JSON', false)
    .action(async (given: VerifyGiven) => verify(given, context))
}

async function verify(given: VerifyGiven, context: CommandContext): Promise<void> {
  const { finish, write, writeError } = context
  const { strict, json, keys = null, checkpoints: published = null, root = null, bundle } = given
  const progress = context.progress('verified', 'at the end')
  const asked = { strict, keys, published, json, write, writeError, progress }
  if (bundle === undefined) {
    await withConfig(context, given.config, async ({ snapshot }) =>
      verifyConfigured(snapshot, { ...asked, root }, given.url),
    )
  } else if (root === true) {
    writeError('Name the file of the root: a bundle is verified without a configuration\n')
    finish(2)
  } else {
    const { auditVerifyBundle } = await import('./audit.ts')
    finish(await auditVerifyBundle({ path: bundle, ...asked, root }))
  }
}

type VerifyNamed = Omit<VerifyAsked, 'root'> & { readonly root: string | true | null }

/** The log of the configuration, or PostgreSQL; a root that was not named is that of `audit.root`. */
async function verifyConfigured(
  snapshot: LoadedSnapshot,
  { root: named, ...asked }: VerifyNamed,
  url: string | true | undefined,
): Promise<number> {
  let root: VerifyAsked['root'] = null
  try {
    root = named === true ? await rootOf(snapshot, asked.keys ?? null) : named
  } catch (error) {
    asked.writeError?.(`Cannot verify: ${(error as Error).message}\n`)
    return 2
  }
  if (url !== undefined) {
    const { auditVerifyPostgres, databaseUrl } = await import('./audit-postgres.ts')
    return auditVerifyPostgres({ ...asked, root, url: databaseUrl(url, snapshot) })
  }
  const { auditVerify } = await import('./audit.ts')
  const published = asked.published ?? publishedOf(snapshot)
  return auditVerify({ path: snapshot.audit.path, ...asked, root, published })
}

async function rootOf(snapshot: LoadedSnapshot, keys: string | null) {
  const { publishedRootOf } = await import('./published-root.ts')
  const root = await publishedRootOf(snapshot, keys)
  if (root === null) throw new Error('set audit.root, or name the file of the root')
  return root
}

function addQuery(audit: Command, context: CommandContext): void {
  const { write, writeError } = context
  withConfigOption(audit.command('query'))
    .description('show the newest decisions that match, oldest first')
    .option('--tenant <tenant>', 'of this tenant')
    .option('--key <key>', 'of this key, by id or name')
    .option('--model <model>', 'for this model, as the call named it')
    .addOption(new Option('--decision <decision>').choices(['allow', 'deny']))
    .option('--policy <id>', 'decided by this policy')
    .option('--since <duration>', 'only of that long, such as 7d', duration)
    .option('-n, --limit <count>', 'at most so many', some, 1000)
    .option('--url [url]', 'ask PostgreSQL, for all pods: audit.ship.postgres, or this one')
    .option('--content', CONTENT, false)
    .option('--json', 'one JSON object a line', false)
    .action(async (given: QueryGiven) => {
      const { auditQuery } = await import('./audit-query.ts')
      const { tenant = null, key = null, model = null, decision = null, policy = null } = given
      const filter = { tenant, key, model, decision, policy, limit: given.limit }
      const sinceUs = sinceUsOf(given.since)
      if (given.url !== undefined && given.content) {
        context.writeError(
          'Prompts and answers are not shipped: ask without --url, where they lie\n',
        )
        context.finish(2)
        return
      }
      if (given.url !== undefined) {
        const { auditQueryPostgres, databaseUrl } = await import('./audit-postgres.ts')
        const { url: named, json } = given
        await withConfig(context, given.config, ({ snapshot }) => {
          const asked = { url: databaseUrl(named, snapshot), json, write, writeError }
          return auditQueryPostgres(asked, { ...filter, sinceUs })
        })
        return
      }
      await withConfig(
        context,
        given.config,
        async ({
          snapshot: {
            audit: { path },
          },
        }) =>
          auditQuery({
            path,
            filter: { ...filter, sinceUs },
            json: given.json,
            content: readingOf(given, context),
            progress: context.progress('indexed', 'at the end'),
            write,
            writeError,
          }),
      )
    })
}

function addErase(audit: Command, context: CommandContext): void {
  const { version, write, writeError } = context
  withConfigOption(audit.command('erase'))
    .description('delete the personal values of a caller or of one call; entries stay and verify')
    .option('--subject <subject>', 'a tenant and its user, or else its key id: acme/alice')
    .option('--request <id>', 'one call')
    .option(
      '--url [url]',
      'erases nothing: says which sidecars have values, by what is in PostgreSQL',
    )
    .action(async (given: EraseGiven) => {
      const { auditErase, auditErasePostgres } = await import('./audit-erase.ts')
      const { config: file, subject = null, request: requestId = null, url: named } = given
      if (named !== undefined) {
        const { databaseUrl } = await import('./audit-postgres.ts')
        await withConfig(context, file, ({ snapshot }) =>
          auditErasePostgres({
            url: databaseUrl(named, snapshot),
            subject,
            requestId,
            write,
            writeError,
          }),
        )
        return
      }
      await withConfig(context, file, async ({ snapshot }) =>
        auditErase({ path: snapshot.audit.path, version, subject, requestId, write, writeError }),
      )
    })
}

function addPrune(audit: Command, context: CommandContext): void {
  const { version, write, writeError } = context
  withConfigOption(audit.command('prune'))
    .description('remove entries older than audit.retention that a signed checkpoint covers')
    .option('--older-than <duration>', 'instead of audit.retention, such as 180d', duration)
    .option('--url [url]', 'whole months of PostgreSQL: audit.ship.postgres, or this one')
    .action(async (given: PruneGiven) => {
      const { config: file, olderThan: olderThanMs = null, url: named } = given
      if (named !== undefined) {
        const { auditPrunePostgres } = await import('./audit-prune-postgres.ts')
        const { databaseUrl } = await import('./audit-postgres.ts')
        await withConfig(context, file, ({ snapshot }) => {
          const url = databaseUrl(named, snapshot)
          return auditPrunePostgres({ snapshot, version, olderThanMs, url, write, writeError })
        })
        return
      }
      const { auditPrune } = await import('./audit-prune.ts')
      await withConfig(context, file, async ({ snapshot }) =>
        auditPrune({ snapshot, version, olderThanMs, write, writeError }),
      )
    })
}

function addRotateKey(audit: Command, context: CommandContext): void {
  const { version, write, writeError } = context
  withConfigOption(audit.command('rotate-key'))
    .description('sign checkpoints with a new key from now on; running sidecars notice')
    .action(async (given: { config: string }) => {
      const { auditRotateKey } = await import('./audit.ts')
      await withConfig(context, given.config, async ({ snapshot }) =>
        auditRotateKey({ path: snapshot.audit.path, version, write, writeError }),
      )
    })
}

function addShip(audit: Command, context: CommandContext): void {
  const { write, writeError } = context
  withConfigOption(audit.command('ship'))
    .description('ship what is left in logs nobody writes any more; 1 when something cannot be')
    .argument('[logs...]', 'audit.path by default')
    .action(async (paths: string[], { config: file }: { config: string }) => {
      const { auditShip } = await import('./audit-ship.ts')
      await withConfig(context, file, ({ snapshot: { audit: log } }) =>
        auditShip({
          paths: paths.length > 0 ? paths : [log.path],
          sink: log.ship,
          write,
          writeError,
        }),
      )
    })
}

/** The file checkpoints are published to, once there is one. */
function publishedOf({ audit: { checkpoints } }: LoadedSnapshot): string | null {
  return checkpoints.file !== null && existsSync(checkpoints.file) ? checkpoints.file : null
}
