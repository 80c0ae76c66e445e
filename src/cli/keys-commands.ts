import type { Command } from 'commander'

import { wallMs } from '../clock.ts'
import { append, label, lifetime } from './arguments.ts'
import { type CommandContext, withConfig, withConfigOption } from './command-context.ts'

interface CreateOptions {
  config: string
  tenant: string
  name: string
  user: string
  role: string[]
  label: Record<string, string>
  expires?: number
}

/** Adds `governor keys` and what it does. */
export function addKeysCommands(program: Command, context: CommandContext): void {
  const keys = program.command('keys').description('make, list and revoke keys')

  withConfigOption(keys.command('create'))
    .description('make a key; it is shown once, alone on the last line')
    .requiredOption('--tenant <tenant>', 'whose it is')
    .requiredOption('--name <name>', 'what to call it')
    .option('--user <user>', 'the person or service behind it', '')
    .option('--role <role>', 'a role, repeatable', append, [])
    .option('--label <name=value>', 'a label, repeatable', label, {})
    .option('--expires <duration>', 'how long it lives, such as 90d', lifetime)
    .action(async (given: CreateOptions) => {
      const { keysCreate } = await import('./keys.ts')
      const expiresAtMs = given.expires === undefined ? null : wallMs() + given.expires
      const { tenant, name, user, role: roles, label: labels } = given
      const spec = { tenant, name, user, roles, labels, expiresAtMs }
      await withConfig(context, given.config, (loaded) => keysCreate(loaded, spec))
    })

  withConfigOption(keys.command('list'))
    .description('list all keys, never their secrets')
    .option('--json', 'one JSON object a line', false)
    .action(async (given: { config: string; json: boolean }) => {
      const { keysList } = await import('./keys.ts')
      await withConfig(context, given.config, (loaded) => keysList(loaded, given.json))
    })

  withConfigOption(keys.command('revoke'))
    .description('end a key; running sidecars notice within a second')
    .argument('<key_id>', 'the part of the key before the dot')
    .action(async (keyId: string, given: { config: string }) => {
      const { keysRevoke } = await import('./keys.ts')
      await withConfig(context, given.config, (loaded) => keysRevoke(loaded, keyId))
    })
}
