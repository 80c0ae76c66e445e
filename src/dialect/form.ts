/**
 * Turns a multipart/form-data body into facts: fields are texts as strings of JSON are, files are what
 * cannot be read here, but for JSON lines, each of which is looked at as a request of its own.
 */
import { isUtf8 } from 'node:buffer'

import { GovernorError } from '../errors.ts'
import type { Facts, Reading, Route, UninspectableKind } from '../exchange.ts'
import { inTurns } from '../turns.ts'
import { joinPieces, type Piece } from './form-texts.ts'
import { foldKey } from './json-fold.ts'
import { inspectLines, type Lines } from './jsonl.ts'
import { parseForm, type Part } from './multipart.ts'
import { checkModel, modelInvalid } from './openai-fields.ts'
import { DECISIVE } from './openai-other.ts'
import { runSteps, STRETCH_BYTES } from './steps.ts'

/** What is particular about the form of one endpoint. */
export interface FormShape {
  /** Fields that are files, and what they are. */
  readonly files: Readonly<Record<string, UninspectableKind>>
  /** Fields without which there is no call. */
  readonly needs: readonly string[]
  readonly needsModel?: boolean
  /** What the call brings in by its path. */
  readonly brings?: UninspectableKind
}

const AUDIO: FormShape = { files: { file: 'audio' }, needs: ['file'], needsModel: true }

const VIDEO: FormShape = { files: { input_reference: 'image', video: 'file' }, needs: ['prompt'] }
const SKILL: FormShape = { files: { files: 'file', 'files[]': 'file' }, needs: [] }

/** By `api`. */
export const FORMS: Readonly<Record<string, FormShape>> = {
  'audio.transcriptions': AUDIO,
  'audio.translations': AUDIO,
  'images.edits': {
    files: { image: 'image', 'image[]': 'image', mask: 'image' },
    needs: ['prompt'],
  },
  'images.variations': { files: { image: 'image' }, needs: ['image'] },
  'files.create': { files: { file: 'file' }, needs: ['file', 'purpose'] },
  'containers.files.create': { files: { file: 'file' }, needs: [] },
  content_provenance_checks: { files: { file: 'file' }, needs: ['file'] },
  'voices.create': { files: { audio_sample: 'audio' }, needs: ['name'] },
  'voice_consents.create': { files: { recording: 'audio' }, needs: ['recording'] },
  'videos.create': VIDEO,
  'videos.edits': VIDEO,
  'videos.extensions': VIDEO,
  'videos.remix': { ...VIDEO, brings: 'reference' },
  'videos.characters.create': { files: { video: 'file' }, needs: ['video'] },
  'skills.create': SKILL,
  'skills.versions.create': SKILL,
}

/** Fields by which something is decided, beside those of JSON bodies. */
const MORE_DECISIVE: ReadonlySet<string> = new Set(['file', 'image', 'mask', 'purpose'])
/** Fields that stand for content elsewhere, or bring it as a URL. */
const BROUGHT: Readonly<Record<string, UninspectableKind>> = {
  characters: 'reference',
  consent: 'reference',
  file_id: 'file',
  image_url: 'image',
  input_reference: 'image',
  known_speaker_references: 'audio',
  video: 'reference',
}
/** What files of JSON lines are for: requests, or examples. */
const LINES_OF: Readonly<Record<string, 'requests' | 'examples'>> = {
  batch: 'requests',
  'fine-tune': 'examples',
  evals: 'examples',
}

/** A server may be less exact about how a purpose is written than we are. */
const LINE_LETTERS: ReadonlySet<string> = new Set(['batch', 'finetune', 'evals'])

/** How a form is read. */
export type FormReading = Reading & { readonly boundary: string }

/** Whether files of a purpose are read line by line. */
export function readsLines(purpose: string): boolean {
  return Object.hasOwn(LINES_OF, purpose)
}

/** Facts of one form. Throws BODY_INVALID, FIELD_INVALID, MODEL_INVALID. */
export async function inspectForm(
  shape: FormShape,
  route: Route,
  body: Buffer,
  reading: FormReading,
): Promise<Facts> {
  const steps = new Form(shape, body, reading).facts(route.pathModel !== null)
  return body.length > STRETCH_BYTES ? inTurns(steps) : runSteps(steps)
}

const NO_LINES: Pick<Lines, 'models' | 'tools' | 'maxOutputTokens' | 'inputChars'> = {
  models: new Set(),
  tools: new Set(),
  maxOutputTokens: null,
  inputChars: 0,
}

/** One look at one form. */
class Form {
  readonly #shape: FormShape
  readonly #bytes: Buffer
  readonly #reading: FormReading
  readonly #fields = new Map<string, string>()
  readonly #pieces: Piece[] = []
  readonly #uninspectable: { kind: UninspectableKind; pointer: string }[] = []
  #lines: Lines | null = null

  constructor(shape: FormShape, bytes: Buffer, reading: FormReading) {
    this.#shape = shape
    this.#bytes = bytes
    this.#reading = reading
  }

  *facts(isNamed: boolean): Generator<void, Facts> {
    const parts = parseForm(this.#bytes, this.#reading.boundary, this.#reading.holes)
    this.#checkNames(parts)
    for (const part of parts) if (part.filename === null) this.#readField(part)
    if (this.#shape.brings !== undefined) this.#mark(this.#shape.brings, '')
    for (const part of parts) yield* this.#addPart(part)
    for (const name of this.#shape.needs) {
      if (!parts.some((part) => part.name === name)) throw fieldInvalid('', `must have ${name}`)
    }
    const own = this.#model(isNamed)
    const lines = this.#lines ?? NO_LINES
    return {
      model: own[0] ?? '',
      models: [...own, ...lines.models],
      stream: this.#isStreamed(),
      maxOutputTokens: lines.maxOutputTokens,
      tools: [...lines.tools],
      texts: yield* joinPieces(this.#pieces),
      inputChars: this.#text('prompt').length + lines.inputChars,
      uninspectable: this.#uninspectable,
      askUsage: null,
    }
  }

  #text(name: string): string {
    return this.#fields.get(name) ?? ''
  }

  /** The one of the form, where it names one. */
  #model(isNamed: boolean): readonly string[] {
    const model = this.#fields.get('model')
    if (model !== undefined) return [checkModel(model, '/model')]
    if (this.#shape.needsModel === true && !isNamed) throw modelInvalid('/model', 'must be given')
    return []
  }

  /** Servers take the first, the last or all of two fields of one name, and `Model` for `model`. */
  #checkNames(parts: readonly Part[]): void {
    const seen = new Set<string>()
    for (const part of parts) {
      const { name } = part
      const folded = foldKey(name)
      if (seen.has(folded) && !name.endsWith('[]') && name !== 'image') {
        throw fieldInvalid(name, 'is sent twice')
      }
      seen.add(folded)
      this.#checkName(part, folded.split('[')[0] ?? '')
    }
    if (seen.has('image') && seen.has('image[]')) {
      throw fieldInvalid('image', 'must be all of the images, or none')
    }
  }

  #checkName({ name, filename }: Part, base: string): void {
    if (Object.hasOwn(this.#shape.files, name)) {
      if (filename === null) throw fieldInvalid(name, 'must be a file with a filename')
      return
    }
    if (!DECISIVE.has(base) && !MORE_DECISIVE.has(base)) return
    if (name !== base) throw fieldInvalid(name, `must be spelled ${base}`)
    if (filename !== null) throw fieldInvalid(name, 'must not be a file')
  }

  #readField({ name, start, end }: Part): void {
    const content = this.#bytes.subarray(start, end)
    if (!isUtf8(content)) throw fieldInvalid(name, 'must be UTF-8')
    this.#fields.set(name, content.toString('utf8'))
  }

  *#addPart({ name, filename, type, start, end }: Part): Generator<void, void> {
    const at = `/${name}`
    this.#plain(name, `${at}#key`)
    if (filename !== null) this.#plain(filename, `${at}#filename`)
    if (type !== '') this.#plain(type, `${at}#type`)
    if (filename === null) {
      const text = this.#bytes.toString('utf8', start, end)
      this.#pieces.push({ kind: 'plain', text, start, at })
      const brought = BROUGHT[name.split('[')[0] ?? '']
      if (brought !== undefined && text !== '') this.#mark(brought, at)
      return
    }
    const purpose = name === 'file' ? this.#linesOf() : undefined
    if (purpose === undefined) {
      this.#mark(this.#shape.files[name] ?? 'file', at)
      return
    }
    const { jsonDepth } = this.#reading
    const file = { bytes: this.#bytes, start, end, at, jsonDepth }
    this.#lines = yield* inspectLines(file, purpose === 'requests')
    for (const piece of this.#lines.pieces) this.#pieces.push(piece)
    this.#uninspectable.push(...this.#lines.uninspectable)
  }

  #linesOf(): 'requests' | 'examples' | undefined {
    const purpose = this.#text('purpose')
    if (readsLines(purpose)) return LINES_OF[purpose]
    const letters = purpose.toLowerCase().replaceAll(/[^a-z]/g, '')
    if (LINE_LETTERS.has(letters)) throw fieldInvalid('purpose', 'must be written as the API does')
    return undefined
  }

  #plain(text: string, at: string): void {
    this.#pieces.push({ kind: 'plain', text, start: -1, at })
  }

  #mark(kind: UninspectableKind, pointer: string): void {
    this.#uninspectable.push({ kind, pointer })
  }

  #isStreamed(): boolean {
    const stream = this.#fields.get('stream') ?? 'false'
    if (stream === 'true' || stream === 'false') return stream === 'true'
    throw fieldInvalid('stream', 'must be true or false')
  }
}

function fieldInvalid(name: string, rule: string): GovernorError {
  const pointer = name === '' ? '' : `/${name}`
  const detail = name === '' ? `the form ${rule}` : `${pointer} ${rule}`
  return new GovernorError('FIELD_INVALID', { detail, param: pointer })
}
