import { existsSync } from 'node:fs'
import { dirname } from 'node:path'

import type { Dispatcher } from 'undici'

import { makeDirectories } from '../directories.ts'
import { request } from '../lean-http.ts'
import { straight } from './direct-agent.ts'
import {
  FLEET_ORIGIN,
  type FleetRoot,
  parseRoot,
  readRootFile,
  ROOT_BYTES_MAX,
} from './fleet-root.ts'
import { placeFile } from './place-file.ts'
import type { PublishTarget } from './publish.ts'

/** Where the root of all writers lies, and how it gets there and back. */

const HTTP_MS = 30_000
const FOUND = 200
const NOT_FOUND = 404

function rootUrl(url: string): string {
  return `${url.replace(/\/+$/, '')}/${FLEET_ORIGIN}`
}

/**
 * The root that was published last: from the file, or from the URL where there is no file; null when none
 * was yet. Believes no signature. Rejects with an Error when it cannot be read or is damaged.
 */
export async function publishedRoot({ file, url }: PublishTarget): Promise<FleetRoot | null> {
  if (file !== null) return existsSync(file) ? readRootFile(file, null) : null
  if (url === null) return null
  return straight((dispatcher) => rootAt(rootUrl(url), dispatcher))
}

async function rootAt(place: string, dispatcher: Dispatcher): Promise<FleetRoot | null> {
  const signal = AbortSignal.timeout(HTTP_MS)
  const { statusCode, body } = await request(place, { dispatcher, signal })
  if (statusCode !== FOUND) {
    await body.dump()
    if (statusCode === NOT_FOUND) return null
    throw new Error(`Cannot read the published root ${place}: it answered ${statusCode}`)
  }
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of body) {
    pieces.push(piece as Buffer)
    bytes += (piece as Buffer).length
    if (bytes > ROOT_BYTES_MAX) throw new Error(`The published root ${place} is too large`)
  }
  try {
    return parseRoot(Buffer.concat(pieces).toString('utf8'))
  } catch (error) {
    const why = (error as Error).message
    throw new Error(`Cannot use the published root ${place}: ${why}`, { cause: error })
  }
}

/** Puts a root to its file, whole or not at all, and to its URL. Rejects with an Error that names the place. */
export async function publishRoot({ file, url }: PublishTarget, text: string): Promise<void> {
  if (file !== null) {
    makeDirectories(dirname(file))
    placeFile(file, { text, mode: 0o644 })
  }
  if (url === null) return
  const place = rootUrl(url)
  await straight(async (dispatcher) => {
    const { statusCode, body } = await request(place, {
      dispatcher,
      method: 'PUT',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      body: text,
      signal: AbortSignal.timeout(HTTP_MS),
    })
    await body.dump()
    if (statusCode < 200 || statusCode > 299) {
      throw new Error(`Cannot publish to ${place}: it answered ${statusCode}`)
    }
  })
}
