import { readFileSync, statSync } from 'node:fs'

import { entryAsText, escapeText, textsAsText } from '../audit/format.ts'
import { findCall } from '../audit/query.ts'
import { recordReading, textsOfEntry } from '../audit/read-content.ts'
import { wallMs } from '../clock.ts'
import type { DescribedRequest, Snapshot } from '../config/snapshot.ts'
import { readDescribed, readDescribedCaller } from '../dialect/described.ts'
import { type ExplainedRow, type ExplainedVerdict, rowOf, verdictOf } from '../explain-recorded.ts'
import { compilePolicies } from '../policy/compile.ts'
import { describedCall, describedRouter } from '../policy/described-call.ts'
import type { DescribedChanges } from '../policy/described-changes.ts'
import { explain, knowing } from '../policy/explain.ts'
import { readDecision } from '../policy/recorded.ts'
import { scanWhole } from '../policy/scan.ts'
import { decideDescribed, type Verdict } from '../policy/test-runner.ts'
import { recordedTexts } from '../recorded-texts.ts'

/** The arguments of `governor explain`, and where its output goes. */
export interface ExplainOptions {
  readonly snapshot: Snapshot
  /** As the user named it. */
  readonly file: string
  /** A request id, or the path of a JSON file that describes a request. */
  readonly what: string
  /** Show prompt and answer of a recorded one and let policies see them, and record that; null does neither. */
  readonly content?: { readonly version: string } | null
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

/** The largest description, bytes. */
const REQUEST_BYTES_MAX = 16 * 1024 * 1024
const REQUEST_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/**
 * `governor explain`: what every policy makes of one call, and why. Exit code 0 when it is explained, 1
 * when the audit has no decision of that id, 2 when there is no audit or the description is not one.
 */
export async function explainCall(options: ExplainOptions): Promise<number> {
  const { what, write, writeError = write } = options
  try {
    return REQUEST_ID.test(what) ? await explainRecorded(options) : await explainDescribed(options)
  } catch (error) {
    writeError(`${escapeText(`${what}: ${(error as Error).message}`)}\n`)
    return 2
  }
}

// --- a described request ---

async function explainDescribed({ snapshot, file, what, write }: ExplainOptions): Promise<number> {
  const request = await readRequest(what, snapshot)
  const nowMs = wallMs()
  const lines = await describedLines(snapshot, request, { file, nowMs })
  const { candidate } = snapshot
  if (candidate !== null) {
    const shown = `the candidate ${candidate.file}`
    lines.push('', ...(await describedLines(candidate, request, { file: shown, nowMs })))
  }
  write(`${lines.map(escapeText).join('\n')}\n`)
  return 0
}

/** What one configuration makes of the request. */
async function describedLines(
  snapshot: Snapshot,
  request: DescribedRequest,
  { file, nowMs }: { readonly file: string; readonly nowMs: number },
): Promise<string[]> {
  const compiled = compilePolicies(snapshot)
  const route = describedRouter(snapshot)
  const { got, changes } = await decideDescribed(compiled, request, { route, nowMs })
  const call = describedCall(request, route(request), nowMs)
  const { policies } = explain(compiled, call, knowing(scanWhole(compiled.texts, request.input)))
  const services = snapshot.detectors.filter((each) => !('matches' in each)).map(({ id }) => id)
  const asked = services.length === 0 ? [] : [`as if nothing was found by ${services.join(', ')}`]
  const by = `by ${file}, ${digestText(snapshot)}`
  return [
    verdictText(got),
    by,
    ...asked,
    ...changeLines(changes, request.input),
    '',
    ...table(policies.map(rowOf)),
  ]
}

/** Texts and parameters that do not go on as they were described. */
function changeLines({ redacted, set }: DescribedChanges, input: readonly string[]): string[] {
  const masked = (redacted ?? []).filter((text, index) => text !== input[index])
  return [
    ...masked.map((text) => `goes on with ${JSON.stringify(text)}`),
    ...[...(set ?? [])].map(([parameter, value]) => `goes on with ${parameter} ${value}`),
  ]
}

async function readRequest(
  path: string,
  { maximums, operations: own }: Snapshot,
): Promise<DescribedRequest> {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) {
    throw new Error('Neither a request id, as in x-governor-request-id, nor a file')
  }
  if (found.isDirectory()) throw new Error('A directory: name a JSON file that describes a request')
  const { size } = found
  if (size > REQUEST_BYTES_MAX)
    throw new Error(`The file is larger than ${REQUEST_BYTES_MAX} bytes`)
  const body = readFileSync(path)
  const { operation, facts } = await readDescribed(body, {
    jsonDepth: maximums.jsonDepth,
    operations: own,
  })
  return {
    ...(await readDescribedCaller(body, maximums)),
    operation,
    model: facts.model,
    input: facts.texts.values,
    stream: facts.stream,
    maxOutputTokens: facts.maxOutputTokens,
    tools: facts.tools,
    uninspectable: facts.uninspectable.map(({ kind }) => kind),
    detected: [],
  }
}

// --- a recorded one ---

async function explainRecorded(options: ExplainOptions): Promise<number> {
  const { snapshot, file, what, write, content = null } = options
  const { path } = snapshot.audit
  const entries = findCall(path, what.toLowerCase())
  const decision = entries.find(({ kind }) => kind === 'decision')
  if (decision === undefined) {
    write(
      `The audit at ${path} has no decision of ${what}. Calls without a key are only ` +
        'counted, and refusals of one key beyond 20 a second are told together.\n',
    )
    return 1
  }
  if (content !== null) {
    const about = { request: what.toLowerCase() }
    recordReading({ path, ...content, command: 'explain', about })
  }
  const lines = entries.flatMap((entry) => {
    const texts = content === null ? [] : textsOfEntry(path, entry)
    return [entryAsText(entry), ...textsAsText(texts)]
  })
  lines.push('')
  const recorded = readDecision(decision.body)
  if (recorded.kind === 'decided') {
    const texts = content === null ? null : await recordedTexts(recorded, snapshot)
    lines.push(...explainedLines(verdictOf(recorded, snapshot, texts), snapshot, file))
  } else if (recorded.kind === 'refused') {
    lines.push(`No policy was asked: it was refused before, with ${recorded.code}`)
  } else lines.push('The entry cannot be read: governor audit verify says more')
  write(`${lines.map(escapeText).join('\n')}\n`)
  return 0
}

function explainedLines(told: ExplainedVerdict, snapshot: Snapshot, file: string): string[] {
  const lines = [
    `decided by the snapshot ${told.digest}`,
    told.same
      ? `${file} is still the same`
      : `${file} is another by now, ${digestText(snapshot)}; what follows is what it makes of the call`,
  ]
  if (!told.served) return [...lines, 'deny: no upstream of it serves this model']
  const { effect, policy, named, unknown } = told
  const by = policy === null || !named ? '' : ` by ${policy}`
  const why = unknown === null ? '' : `: ${unknown} needs what was not recorded`
  return [...lines, `${effect}${by}${why}`, '', ...table(told.policies)]
}

// --- both ---

function verdictText({ decision, policy, reason }: Verdict): string {
  const by = policy === null ? '' : ` by ${policy}`
  return reason === '' ? `${decision}${by}` : `${decision}${by}: ${reason}`
}

function digestText({ digest }: Snapshot): string {
  return `digest ${digest.slice(0, 12)}`
}

/** A line for each policy, in the order of the file. */
function table(rows: readonly ExplainedRow[]): string[] {
  const width = Math.max(0, ...rows.map(({ id }) => id.length))
  return rows.map(({ id, verb, mode, finding, why }) => {
    const shown = `${verb}${mode === 'enforce' ? '' : ` (${mode})`}`.padEnd(16)
    return `${finding.padEnd(11)}  ${shown}  ${id.padEnd(width)}  ${why}`
  })
}
