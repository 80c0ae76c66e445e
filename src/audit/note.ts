import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'

/**
 * Signed notes and checkpoints as C2SP writes them (signed-note, tlog-checkpoint): three lines
 * (origin, number of entries, root in base64), an empty line, and a line for each signature:
 * `— <key name> <base64 of 4 bytes that name the key and of the 64 bytes Ed25519 made>`.
 */

/** The name of every key of ours. */
export const KEY_NAME = 'governor-audit'
const ED25519 = 1
const KEY_HASH_BYTES = 4
const SIGNATURE_BYTES = 64
const NOTE_CHARS_MAX = 4_096
const SIGNATURES_MAX = 8
/** What precedes the 32 bytes of an Ed25519 key in DER (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const SIZE = /^(0|[1-9]\d{0,15})$/
const LINE = /^[^\s\p{Cc}]+$/u

/** What a checkpoint says: this tree had `size` leaves and this root. */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  readonly root: Uint8Array
}

/** A checkpoint as it was read. */
export interface Note extends Checkpoint {
  /** What the signatures are over: the three lines with their line feeds. */
  readonly text: string
  readonly signatures: readonly { readonly keyId: string; readonly bytes: Uint8Array }[]
}

/** Names the tree of one chain: each writer has its own in each epoch. */
export function originOf(writer: string, epoch: number): string {
  return `governor/audit/${writer}/${epoch}`
}

/** Raw bytes of an Ed25519 public key, 32. */
export function rawPublicKey(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX.length)
}

/** The public key of raw bytes. Throws what OpenSSL says of bytes that are none. */
export function publicKeyOf(raw: Uint8Array): KeyObject {
  const der = Buffer.concat([SPKI_PREFIX, raw])
  return createPublicKey({ key: der, format: 'der', type: 'spki' })
}

/** Eight hex digits that name a public key: `SHA-256(name ‖ "\n" ‖ 1 ‖ key)`, its first 4 bytes. */
export function keyIdOf(raw: Uint8Array): string {
  const named = Buffer.concat([Buffer.from(`${KEY_NAME}\n`), Buffer.from([ED25519]), raw])
  return hash('sha256', named).slice(0, KEY_HASH_BYTES * 2)
}

/** Writes and signs a checkpoint. */
export function signCheckpoint(checkpoint: Checkpoint, secret: KeyObject, keyId: string): string {
  const { origin, size, root } = checkpoint
  const text = `${origin}\n${size}\n${Buffer.from(root).toString('base64')}\n`
  const signature = sign(null, Buffer.from(text), secret)
  const line = Buffer.concat([Buffer.from(keyId, 'hex'), signature]).toString('base64')
  return `${text}\n— ${KEY_NAME} ${line}\n`
}

/** Reads one signed checkpoint; null when it is not exactly what `signCheckpoint` writes. */
export function parseNote(written: string): Note | null {
  if (written.length > NOTE_CHARS_MAX) return null
  const [origin = '', size = '', root = '', blank, ...rest] = written.split('\n')
  if (blank !== '' || rest.pop() !== '') return null
  const rootBytes = fromBase64(root, 32)
  if (!LINE.test(origin) || !SIZE.test(size) || rootBytes === null) return null
  const signatures = parseSignatures(rest)
  if (signatures === null) return null
  const text = `${origin}\n${size}\n${root}\n`
  return { origin, size: Number(size), root: rootBytes, text, signatures }
}

function parseSignatures(lines: readonly string[]): Note['signatures'] | null {
  if (lines.length === 0 || lines.length > SIGNATURES_MAX) return null
  const signatures = lines.map(parseSignature).filter((each) => each !== null)
  return signatures.length === lines.length ? signatures : null
}

function parseSignature(line: string): Note['signatures'][number] | null {
  const [dash, name, coded = '', ...rest] = line.split(' ')
  const bytes = fromBase64(coded, KEY_HASH_BYTES + SIGNATURE_BYTES)
  if (dash !== '—' || name !== KEY_NAME || bytes === null || rest.length > 0) return null
  const keyId = bytes.subarray(0, KEY_HASH_BYTES).toString('hex')
  return { keyId, bytes: bytes.subarray(KEY_HASH_BYTES) }
}

/** Whether this key signed that note. */
export function isSignedBy(note: Note, key: KeyObject, keyId: string): boolean {
  const text = Buffer.from(note.text)
  return note.signatures.some((each) => each.keyId === keyId && verify(null, text, key, each.bytes))
}

/** Exactly so many bytes in the one base64 that encodes them; null otherwise. */
export function fromBase64(coded: string, bytes: number): Buffer | null {
  const decoded = Buffer.from(coded, 'base64')
  return decoded.length === bytes && decoded.toString('base64') === coded ? decoded : null
}
