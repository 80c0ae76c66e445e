import { hash } from 'node:crypto'

import type { DetectorConfig, PolicyConfig, Snapshot } from '../config/snapshot.ts'

/** Hex digits kept of a rule's digest; they tell apart the policies of one log, and forge nothing. */
const DIGITS = 16

/**
 * Names what a policy looks for, apart from its id, mode and message: two policies of the same rule
 * match the same calls. `policy.load` keeps it, so that a decision can be replayed against a later file
 * without the texts it was about.
 */
export function ruleDigest(
  { id: _id, mode: _mode, message: _message, ...rule }: PolicyConfig,
  { aliases, detectors }: Pick<Snapshot, 'aliases' | 'detectors'>,
): string {
  return hash('sha256', JSON.stringify([rule, aliases, detectors.map(findsWhat)])).slice(0, DIGITS)
}

/** What a detector finds has nothing to do with its secret, nor with how long it may take. */
function findsWhat(detector: DetectorConfig): object {
  if ('matches' in detector) return detector
  const { id, external, asks } = detector
  return { id, url: external.url, asks }
}
