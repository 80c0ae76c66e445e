import type { ExternalDetectorConfig } from '../../config/snapshot.ts'
import type { Facts } from '../../exchange.ts'
import { normaliseText } from '../normalise.ts'
import { NotAnAnswer } from './not-an-answer.ts'
import { VerdictCache } from './verdict-cache.ts'
import { type Findings, type Span, type Wire, wireOf } from './wire.ts'

/** What a detector said of all texts of a call. */
export type ExternalAnswer =
  | {
      readonly found: number
      /** Where, by the text as it reads; texts of which nobody says so are not in it. */
      readonly places?: ReadonlyMap<string, readonly Span[]>
    }
  /** It could not be asked; `failed` says why in words, for the entry. */
  | { readonly failed: string; readonly onError: 'allow' | 'deny' }

/** Asks detectors, by id, about the texts of the call at hand. Rejects when nobody waits any more. */
export type AskExternal = (ids: readonly string[]) => Promise<ReadonlyMap<string, ExternalAnswer>>

/** How a question ended, a closed set for `detector_requests_total{result}`. */
export type AskResult = 'ok' | 'late' | 'unreachable' | 'status' | 'answer' | 'large'

/** Why a service gave no answer. */
export class ServiceFault extends Error {
  override readonly name = 'ServiceFault'
  readonly result: Exclude<AskResult, 'ok' | 'answer'>

  constructor(result: ServiceFault['result'], message: string, cause?: unknown) {
    super(message, { cause })
    this.result = result
  }
}

/** What a detector needs of the outside. */
export interface ExternalPorts {
  /**
   * Posts JSON and returns the text of a 200. Throws ServiceFault; rejects with the reason of `signal`
   * when that is aborted.
   */
  readonly post: (path: string, json: string, signal: AbortSignal) => Promise<string>
  /** Counts a question. */
  readonly onAsked: (id: string, result: AskResult) => void
  /** Counts a look-up in the cache of verdicts. */
  readonly onCache: (result: 'hit' | 'miss') => void
}

/** A detector that is a service. One per snapshot, or longer while its configuration stays. */
export class ExternalDetector {
  readonly config: ExternalDetectorConfig
  readonly #ports: ExternalPorts
  readonly #wire: Wire
  readonly #cache: VerdictCache

  constructor(config: ExternalDetectorConfig, ports: ExternalPorts) {
    this.config = config
    this.#ports = ports
    this.#wire = wireOf(config)
    this.#cache = new VerdictCache(config.external.cacheTexts)
  }

  /**
   * Findings in texts as they read; only those that are not remembered are sent, in one question.
   * Rejects with the reason of `signal` when that is aborted; everything else that goes wrong is an answer.
   */
  async ask(texts: readonly string[], signal: AbortSignal): Promise<ExternalAnswer> {
    const { id, external } = this.config
    const chars = texts.reduce((sum, { length }) => sum + length, 0)
    if (chars > external.charsMax) {
      this.#ports.onAsked(id, 'large')
      return this.#failed(`${id}: the texts are longer than its max_chars`)
    }
    let found = 0
    const places = new Map<string, readonly Span[]>()
    const take = (text: string, { count, spans }: Findings): void => {
      found += count
      if (spans.length > 0) places.set(text, spans)
    }
    const missing: string[] = []
    for (const text of texts) {
      const known = this.#cache.get(text)
      this.#ports.onCache(known === null ? 'miss' : 'hit')
      if (known === null) missing.push(text)
      else take(text, known)
    }
    if (missing.length === 0) return { found, places }
    try {
      await this.#question(missing, signal, take)
      this.#ports.onAsked(id, 'ok')
      return { found, places }
    } catch (error) {
      if (signal.aborted) throw error
      return this.#fault(error)
    }
  }

  async #question(
    missing: readonly string[],
    signal: AbortSignal,
    take: (text: string, findings: Findings) => void,
  ): Promise<void> {
    const groups = grouped(missing, this.#wire.textsMax ?? missing.length)
    const sent = groups.map((group) => group.join('\n'))
    const answer = await this.#ports.post(this.#wire.path, this.#wire.question(sent), signal)
    const findings = this.#wire.findings(parsed(answer), sent)
    for (const [index, group] of groups.entries()) {
      const each = findings[index] ?? NOTHING
      this.#remember(group, each)
      take(group[0] ?? '', each)
    }
  }

  /** Of a group in which something was found nobody knows in which text. */
  #remember(group: readonly string[], findings: Findings): void {
    if (group.length > 1 && findings.count > 0) return
    for (const text of group) this.#cache.set(text, findings)
  }

  #fault(error: unknown): ExternalAnswer {
    const { id } = this.config
    if (error instanceof ServiceFault) {
      this.#ports.onAsked(id, error.result)
      return this.#failed(`${id} ${error.message}`)
    }
    this.#ports.onAsked(id, 'answer')
    const what = error instanceof NotAnAnswer ? error.message : 'it is no JSON'
    return this.#failed(`${id} answered something else: ${what}`)
  }

  #failed(why: string): ExternalAnswer {
    return { failed: why, onError: this.config.external.onError }
  }
}

function parsed(json: string): unknown {
  return JSON.parse(json)
}

const NOTHING: Findings = { count: 0, spans: [] }

/** At most `max` groups of neighbours, about as many texts in each. */
function grouped(texts: readonly string[], max: number): readonly (readonly string[])[] {
  const size = Math.ceil(texts.length / max)
  const groups: (readonly string[])[] = []
  for (let from = 0; from < texts.length; from += size) groups.push(texts.slice(from, from + size))
  return groups
}

/** Words of the formats themselves, which say nothing about anybody. */
const PROTOCOL_WORDS = new Set(
  (
    'model models messages message role roles content contents text type name input instructions ' +
    'prompt user users assistant system developer tool tools tool_calls tool_call_id tool_choice ' +
    'function functions arguments parameters properties required description object string number ' +
    'integer boolean array null auto none stream stream_options include_usage true false stop n seed ' +
    'temperature top_p max_tokens max_completion_tokens max_output_tokens presence_penalty ' +
    'frequency_penalty response_format json_schema json_object strict store metadata input_text ' +
    'output_text image_url url id parts thinking cache_control ephemeral reasoning_effort low medium high'
  ).split(' '),
)

const SAYS_SOMETHING = /[\p{L}\p{N}]/u

/** Beyond these a call is not ordinary, and pointers would cost more than they save. */
const POINTED_TEXTS_MAX = 2000
const POINTED_UNITS_MAX = 256 * 1024

/**
 * The texts of a call that are worth asking about, each once, as a reader would read them: without the
 * words of the format and the names of models, which policies see anyway, and without the turns of a
 * conversation joined, which would be a new text with every turn.
 */
export function textsToAsk({ texts, models }: Pick<Facts, 'texts' | 'models'>): readonly string[] {
  const asked = new Set<string>()
  const units = texts.values.reduce((sum, { length }) => sum + length, 0)
  const isOrdinary = texts.values.length <= POINTED_TEXTS_MAX && units <= POINTED_UNITS_MAX
  const lists = new Set<string>()
  for (const [index, text] of texts.values.entries()) {
    if (PROTOCOL_WORDS.has(text) || models.includes(text)) continue
    const normal = normaliseText(text)
    if (!SAYS_SOMETHING.test(normal)) continue
    const pointer = isOrdinary ? texts.pointer(index) : ''
    if (lists.has(pointer)) continue
    addParents(pointer, lists)
    asked.add(normal)
  }
  return [...asked]
}

/** `/messages` and `/messages/0` of `/messages/0/content`: what turns are joined under. */
function addParents(pointer: string, lists: Set<string>): void {
  const first = pointer.indexOf('/', 1)
  if (first < 0) return
  lists.add(pointer.slice(0, first))
  const second = pointer.indexOf('/', first + 1)
  if (second > 0) lists.add(pointer.slice(0, second))
}
