import type { Splice } from '../exchange.ts'

/** The bytes with each splice put in; splices are sorted and do not overlap. The rest stays as sent. */
export function applySplices(bytes: Buffer, splices: readonly Splice[]): Buffer {
  const parts: Buffer[] = []
  let from = 0
  for (const { start, end, text } of splices) {
    parts.push(bytes.subarray(from, start), Buffer.from(text))
    from = end
  }
  parts.push(bytes.subarray(from))
  return Buffer.concat(parts)
}
