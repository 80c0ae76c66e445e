import { resolve } from 'node:path'

import { epochFiles } from '../audit/file.ts'
import { escapeText } from '../audit/format.ts'
import { postgresMessage } from '../audit/postgres.ts'
import { Shipper } from '../audit/shipper.ts'
import { sinkName } from '../audit/sink-name.ts'
import { openSink } from '../audit/sink.ts'
import type { ShipConfig } from '../config/snapshot.ts'
import { entriesOf } from './counted.ts'

/** What `governor audit ship` was asked for. */
export interface AuditShipOptions {
  /** Logs, each with all its epochs. */
  readonly paths: readonly string[]
  /** Null where the configuration names no place. */
  readonly sink: ShipConfig | null
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

/**
 * Ships whole logs, once: the files of pods that are gone, say. A running sidecar may ship the same
 * at the same time. Exit code 0 all is there · 1 a chain is forked · 2 a log or the place cannot be
 * used.
 */
export async function auditShip(options: AuditShipOptions): Promise<number> {
  const { paths, sink, write, writeError = write } = options
  if (sink === null) {
    writeError('Nowhere to ship to: set audit.ship\n')
    return 2
  }
  let worst = 0
  for (const path of paths) {
    const code = await shipLog(resolve(path), sink, { write, writeError })
    worst = Math.max(worst, code)
  }
  return worst
}

async function shipLog(
  path: string,
  config: ShipConfig,
  { write, writeError }: Required<Pick<AuditShipOptions, 'write' | 'writeError'>>,
): Promise<number> {
  if (epochFiles(path).length === 0) {
    writeError(`There is no audit log at ${escapeText(path)}\n`)
    return 2
  }
  const sink = openSink(config, path)
  const heads = new Map<string, number>()
  let dead = 0
  const shipper = new Shipper({
    path,
    sink,
    onFork: ({ file, chain, what }) =>
      write(`fork     ${escapeText(`${file} ${chain}: ${what}`)}\n`),
    onDead: (entries) => (dead += entries),
    onHead: ({ writerId, epoch }, { seq }) =>
      void heads.set(`${writerId.toString('hex')}:${epoch}`, seq),
  })
  try {
    await sink.check()
    while (await shipper.step());
    const there = [...heads.values()].reduce((sum, seq) => sum + seq, 0)
    const said = dead === 0 ? '' : `, ${dead} as bytes only`
    write(
      `${escapeText(path)}: ${entriesOf(there, heads.size)} are at ${sinkName(config)}${said}\n`,
    )
    return shipper.forks.length > 0 ? 1 : 0
  } catch (error) {
    const why = escapeText(postgresMessage(error))
    writeError(`Cannot ship ${escapeText(path)} to ${sinkName(config)}: ${why}\n`)
    return 2
  } finally {
    shipper.close()
    await sink.close()
  }
}
