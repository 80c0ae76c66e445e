/**
 * Cuts a multipart/form-data body (RFC 7578, RFC 2046 §5.1) into its parts, strictly: whatever two
 * servers are known to read differently is refused. Nothing is copied but names.
 */
import { isUtf8 } from 'node:buffer'

import { GovernorError } from '../errors.ts'
import type { Hole } from '../exchange.ts'

/** One part; its content is the bytes from `start` up to `end`. */
export interface Part {
  readonly name: string
  /** Null for a field that is no file. */
  readonly filename: string | null
  /** As sent; '' when absent. */
  readonly type: string
  readonly start: number
  readonly end: number
}

/** The most parts of one form. */
export const PARTS_MAX = 128
/** The most bytes of the headers of one part. */
export const HEADER_BYTES_MAX = 2048

const NO_HOLES: readonly Hole[] = []
const CRLF = '\r\n'
const HEADER = /^([A-Za-z-]{1,64}): ?(\P{Cc}*)$/u
const DISPOSITION = /^form-data; ?name="([^"\\]{1,128})"(?:; ?filename="([^"\\]{0,255})")?$/i
/** A name, with at most two levels of brackets. */
const NAME = /^(?!__)[A-Za-z_][A-Za-z0-9_.-]*(?:\[[A-Za-z0-9_.-]*\]){0,2}$/
const TOKEN = "[a-z0-9][a-z0-9!#$&^_.+'-]{0,99}"
const TYPE = new RegExp(
  `^(?!multipart/|message/)${TOKEN}/${TOKEN}(?:; ?(?:charset=(?:utf-8|us-ascii)|codecs="?[a-z0-9.,]{1,64}"?))?$`,
  'i',
)

/**
 * The parts of `bytes` in their order. Throws BODY_INVALID for: anything before the first or after the
 * last boundary, a boundary that is not a line of its own between CRLFs, headers other than those of a
 * form, nested parts, transfer encodings, other charsets, escaped or extended names, more than
 * `PARTS_MAX` parts. The content of a part in `holes` is elsewhere and counts as there.
 */
export function parseForm(
  bytes: Buffer,
  boundary: string,
  holes: readonly Hole[] = NO_HOLES,
): Part[] {
  const delimiter = Buffer.from(`--${boundary}`, 'latin1')
  const left = new Map(holes.map(({ part, bytes: holeBytes }) => [part, holeBytes]))
  const parts: Part[] = []
  let at = 0
  if (bytes.indexOf(delimiter) !== 0) throw invalidForm('it does not begin with its boundary')
  for (;;) {
    const after = at + delimiter.length
    const mark = bytes.toString('latin1', after, after + 2)
    if (mark === '--') return closed(bytes, after + 2, parts)
    if (mark !== CRLF) throw invalidForm('a boundary is not a line of its own')
    if (parts.length === PARTS_MAX) throw invalidForm(`more than ${PARTS_MAX} parts`)
    const head = bytes.subarray(after, after + HEADER_BYTES_MAX + 4)
    const headBytes = head.indexOf('\r\n\r\n')
    if (headBytes < 1) {
      throw invalidForm(
        `a part without headers, or with more than ${HEADER_BYTES_MAX} bytes of them`,
      )
    }
    const start = after + headBytes + 4
    at = bytes.indexOf(delimiter, start)
    if (at === -1) throw invalidForm('the last boundary is missing')
    const end = at - 2
    const contentBytes = end - start + (left.get(parts.length) ?? 0)
    // RFC 2046 §5.1.1: the CRLF before a boundary belongs to the boundary.
    if (end < start || bytes.toString('latin1', end, at) !== CRLF) {
      throw invalidForm('a boundary is not a line of its own')
    }
    parts.push({ ...readHead(head.subarray(2, headBytes), contentBytes), start, end })
  }
}

/** How a form ends: form-data-encoder (of openai before version 5) leaves an empty line after it. */
const ENDS: ReadonlySet<string> = new Set(['', CRLF, CRLF + CRLF])

function closed(bytes: Buffer, at: number, parts: Part[]): Part[] {
  if (!ENDS.has(bytes.toString('latin1', at, at + 5))) {
    throw invalidForm('there is more after the last boundary')
  }
  if (parts.length === 0) throw invalidForm('it has no parts')
  return parts
}

function readHead(head: Buffer, contentBytes: number): Pick<Part, 'name' | 'filename' | 'type'> {
  const headers = readHeaders(head)
  const disposition = DISPOSITION.exec(headers.get('content-disposition') ?? '')
  const name = disposition?.[1] ?? ''
  if (!NAME.test(name)) {
    throw invalidForm(
      'a part is not `form-data; name="…"` with a plain name and at most a filename',
    )
  }
  checkRest(headers, name, contentBytes)
  return { name, filename: disposition?.[2] ?? null, type: headers.get('content-type') ?? '' }
}

function readHeaders(head: Buffer): ReadonlyMap<string, string> {
  if (!isUtf8(head)) throw invalidForm('headers of a part are not UTF-8')
  const headers = new Map<string, string>()
  for (const line of head.toString('utf8').split(CRLF)) {
    const [, name = '', value = ''] = HEADER.exec(line) ?? []
    const lower = name.toLowerCase()
    if (lower === '' || headers.has(lower))
      throw invalidForm('a header of a part is not well-formed')
    headers.set(lower, value.trimEnd())
  }
  return headers
}

/** What other headers may say: nothing that changes how the content is read. */
function checkRest(headers: ReadonlyMap<string, string>, name: string, contentBytes: number): void {
  for (const [header, value] of headers) {
    if (header === 'content-disposition') continue
    const isFine =
      (header === 'content-type' && TYPE.test(value)) ||
      (header === 'content-transfer-encoding' && value.toLowerCase() === 'binary') ||
      (header === 'content-length' && value === String(contentBytes))
    if (!isFine) throw invalidForm(`the ${header} of the part ${name} is not accepted`)
  }
}

/** The refusal of a form, and what is wrong with it. */
export function invalidForm(detail: string): GovernorError {
  return new GovernorError('BODY_INVALID', { detail: `multipart/form-data: ${detail}` })
}
