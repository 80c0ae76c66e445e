import { createHash, hash } from 'node:crypto'
import { Readable } from 'node:stream'

import { wholeBytes, wholeForm } from '../dialect/form-skeleton.ts'
import type { Body, Trail } from '../exchange.ts'

/** A body that is sent as it is read, and how long it is. */
export interface SentBody {
  readonly stream: Readable
  readonly bytes: number
}

/** A form on disk as it goes on; null where the body is in memory. `bytes` are what the permit allows. */
export function sentForm(bytes: Buffer, body: Body | null): SentBody | null {
  if (body?.spooled === undefined) return null
  const whole = wholeForm(bytes, body.spooled, body.boundary!)
  const stream = Readable.from(whole, { highWaterMark: 1 })
  return { stream, bytes: wholeBytes(bytes, body.spooled) }
}

/** Notes the hash of what goes on, but of a form on disk that was edited. */
export function noteForwarded(
  trail: Trail,
  { receivedSha256, spooled }: Body,
  outgoing: Buffer,
): void {
  if (trail.changed.length === 0) trail.forwardedSha256 = receivedSha256
  else if (spooled === undefined) trail.forwardedSha256 = hash('sha256', outgoing)
}

/** Notes it of such a form, where there is one. */
export async function hashForm(trail: Trail): Promise<void> {
  const edited = trail.decision?.changes?.bytes
  const spooled = trail.body?.spooled
  if (edited === undefined || spooled === undefined || trail.refusal !== null) return
  const sha256 = createHash('sha256')
  for await (const piece of wholeForm(edited, spooled, trail.body!.boundary!)) sha256.update(piece)
  trail.forwardedSha256 = sha256.digest('hex')
}
