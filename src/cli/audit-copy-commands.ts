import { type Command, Option } from 'commander'

import { EXPORT_FORMATS, type ExportFormat } from '../audit/export.ts'
import { duration } from './arguments.ts'
import { type CommandContext, sinceUsOf, withConfig, withConfigOption } from './command-context.ts'

/** Adds what copies the audit elsewhere, and back: `export`, `import`, `publish`. */
export function addCopyCommands(audit: Command, context: CommandContext): void {
  addExport(audit, context)
  addImport(audit, context)
  addPublish(audit, context)
}

interface ExportGiven {
  readonly config: string
  readonly format: ExportFormat
  readonly since?: number
  readonly all: boolean
  readonly url?: string | true
}

function addExport(audit: Command, context: CommandContext): void {
  const { version, write, writeError } = context
  withConfigOption(audit.command('export'))
    .description(
      'write entries for people and log collectors, or the whole log to verify elsewhere',
    )
    .addOption(new Option('--format <format>').choices(EXPORT_FORMATS).default('jsonl'))
    .option('--since <duration>', 'only of that long, such as 30d', duration)
    .option('--all', 'everything, as a bundle for audit verify --bundle and audit import', false)
    .option('--url [url]', 'from PostgreSQL, for all pods: audit.ship.postgres, or this one')
    .action(async (given: ExportGiven) => {
      const { auditExport } = await import('./audit-export.ts')
      const asked = {
        format: given.all ? ('bundle' as const) : given.format,
        sinceUs: sinceUsOf(given.since),
        version,
        write,
        writeError,
        progress: context.progress('exported', 'on stdout'),
      }
      const named = given.url
      if (named === undefined) {
        await withConfig(context, given.config, async ({ snapshot }) =>
          auditExport({ path: snapshot.audit.path, ...asked }),
        )
        return
      }
      const { auditExportPostgres, databaseUrl } = await import('./audit-postgres.ts')
      await withConfig(context, given.config, ({ snapshot }) =>
        auditExportPostgres(databaseUrl(named, snapshot), asked),
      )
    })
}

function addImport(audit: Command, context: CommandContext): void {
  const { write, writeError } = context
  withConfigOption(audit.command('import'))
    .description('restore a bundle of audit export --all into an empty PostgreSQL, and verify it')
    .argument('<bundle>', 'what audit export --all wrote, of a log or of PostgreSQL')
    .option('--url <url>', 'the database, instead of audit.ship.postgres')
    .option('--keys <file>', 'public keys to check signatures with')
    .action(async (file: string, given: { config: string; url?: string; keys?: string }) => {
      const { auditImport } = await import('./audit-import.ts')
      const { databaseUrl } = await import('./audit-postgres.ts')
      const { keys = null, url: named = true } = given
      await withConfig(context, given.config, ({ snapshot }) => {
        const url = databaseUrl(named, snapshot)
        return auditImport({ file, url, keys, write, writeError, progress: context.progress })
      })
    })
}

function addPublish(audit: Command, context: CommandContext): void {
  const { write, writeError } = context
  withConfigOption(audit.command('publish'))
    .description('publish a signed root over all writers in PostgreSQL; 1 when one was taken away')
    .option('--url <url>', 'the database, instead of audit.ship.postgres')
    .option('--file <file>', 'write the root here, instead of audit.root')
    .option('--put <url>', 'PUT the root below this URL, instead of audit.root')
    .option('--key <file>', 'the key that signs, instead of the one beside audit.path')
    .action(async (given: PublishGiven) => {
      const { auditPublish } = await import('./audit-publish.ts')
      const { databaseUrl } = await import('./audit-postgres.ts')
      const { url: named = true, file = null, put = null, key = null } = given
      await withConfig(context, given.config, ({ snapshot }) => {
        const isGiven = file !== null || put !== null
        return auditPublish({
          url: databaseUrl(named, snapshot),
          place: isGiven ? { file, url: put } : snapshot.audit.root,
          keyFile: key ?? `${snapshot.audit.path}.key`,
          write,
          writeError,
        })
      })
    })
}

interface PublishGiven {
  readonly config: string
  readonly url?: string
  readonly file?: string
  readonly put?: string
  readonly key?: string
}
