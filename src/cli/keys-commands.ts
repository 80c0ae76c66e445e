import { type Command, Option } from 'commander'

import { wallMs } from '../clock.ts'
import { append, label, lifetime, overlap } from './arguments.ts'
import { type CommandContext, withConfig, withConfigOption } from './command-context.ts'

interface CreateOptions {
  config: string
  tenant: string
  name: string
  user: string
  role: string[]
  label: Record<string, string>
  upstream: string[]
  expires?: number
}

interface RotateOptions {
  config: string
  overlap: number
  expires?: number
}

/** Long enough to bring a new secret to where the old one is. */
const DAY_MS = 86_400_000

/** Adds `governor keys` and what it does. */
export function addKeysCommands(program: Command, context: CommandContext): void {
  const keys = program.command('keys').description('make, list, rotate, revoke and carry keys')

  withConfigOption(keys.command('create'))
    .description('make a key; it is shown once, alone on the last line')
    .requiredOption('--tenant <tenant>', 'whose it is')
    .requiredOption('--name <name>', 'what to call it')
    .option('--user <user>', 'the person or service behind it', '')
    .option('--role <role>', 'a role, repeatable', append, [])
    .option('--label <name=value>', 'a label, repeatable', label, {})
    .option(
      '--upstream <name>',
      'an upstream its calls may go to, repeatable; all without',
      append,
      [],
    )
    .option('--expires <duration>', 'how long it lives, such as 90d', lifetime)
    .action(async (given: CreateOptions) => {
      const { keysCreate } = await import('./keys.ts')
      const expiresAtMs = given.expires === undefined ? null : wallMs() + given.expires
      const { tenant, name, user, role: roles, label: labels, upstream: upstreams } = given
      const spec = { tenant, name, user, roles, labels, upstreams, expiresAtMs }
      await withConfig(context, given.config, (loaded) => keysCreate(loaded, spec))
    })

  withConfigOption(keys.command('list'))
    .description('list all keys, never their secrets')
    .option('--tenant <tenant>', 'only its keys')
    .option('--json', 'one JSON object a line', false)
    .action(async (given: { config: string; json: boolean; tenant?: string }) => {
      const { keysList } = await import('./keys.ts')
      const { config, json, tenant = null } = given
      await withConfig(context, config, (loaded) => keysList(loaded, { json, tenant }))
    })

  withConfigOption(keys.command('rotate'))
    .description('give a key another secret; it is shown once, alone on the last line')
    .argument('<key_id>', 'the part of the key before the dot')
    .addOption(
      new Option('--overlap <duration>', 'how long the former secret opens, too')
        .argParser(overlap)
        .default(DAY_MS, '24h'),
    )
    .option('--expires <duration>', 'how long the key lives from now; as before without', lifetime)
    .action(async (keyId: string, given: RotateOptions) => {
      const { keysRotate } = await import('./keys.ts')
      const { config, overlap: overlapMs, expires } = given
      const end = expires === undefined ? {} : { expiresAtMs: wallMs() + expires }
      await withConfig(context, config, (loaded) =>
        keysRotate(loaded, keyId, { overlapMs, ...end }),
      )
    })

  withConfigOption(keys.command('revoke'))
    .description('end a key; running sidecars notice within a second')
    .argument('<key_id>', 'the part of the key before the dot')
    .action(async (keyId: string, given: { config: string }) => {
      const { keysRevoke } = await import('./keys.ts')
      await withConfig(context, given.config, (loaded) => keysRevoke(loaded, keyId))
    })

  addTransferCommands(keys, context)
}

function addTransferCommands(keys: Command, context: CommandContext): void {
  withConfigOption(keys.command('export'))
    .description('write all keys with their hashes, for keys import or the store file')
    .option('--tenant <tenant>', 'only its keys')
    .action(async (given: { config: string; tenant?: string }) => {
      const { keysExport } = await import('./keys-transfer.ts')
      const { config, tenant = null } = given
      await withConfig(context, config, (loaded) => keysExport(loaded, tenant))
    })

  withConfigOption(keys.command('import'))
    .description('add the keys of such a file; what is there stays, and is told where it differs')
    .argument('<file>', 'what keys export wrote; - for standard input')
    .action(async (file: string, { config }: { config: string }) => {
      const { keysImport } = await import('./keys-transfer.ts')
      await withConfig(context, config, (loaded) => keysImport(loaded, file))
    })
}
