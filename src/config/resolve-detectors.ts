import { DETECTORS } from '../exchange.ts'
import type { Path } from './problem.ts'
import type { Report } from './report.ts'
import { checkUnique } from './resolve-policies.ts'
import { checkPattern } from './resolve-texts.ts'
import type { FileValue } from './resolve.ts'
import type { DetectorConfig, ExternalDetectorConfig } from './snapshot.ts'
import { quote } from './source.ts'

type DetectorValue = FileValue['detectors'][number]
type PresidioValue = NonNullable<DetectorValue['presidio']>
type ModerationValue = NonNullable<DetectorValue['openai_moderation']>
type ServiceValue = PresidioValue | ModerationValue

/** What else is needed to resolve detectors. */
export interface DetectorOptions {
  readonly report: Report
  /** The secret of a map with `credential` or `credential_file`; problems go to the report. */
  readonly credential: (given: ServiceValue, at: Path) => string | null
}

const KINDS = ['matches', 'presidio', 'openai_moderation'] as const

/** Every detector of the file has a name of its own and is of exactly one kind. */
export function resolveDetectors(
  { detectors, defaults }: FileValue,
  options: DetectorOptions,
): DetectorConfig[] {
  const { report } = options
  const ids = detectors.map(({ id }) => id)
  checkUnique(ids, report, (index) => ['detectors', index, 'id'])
  return detectors.map((detector, index) => {
    const { id } = detector
    const at = ['detectors', index]
    const isFree = !(DETECTORS as readonly string[]).includes(id)
    report.check([...at, 'id'], isFree, `${quote(id)} comes with Governor: take another name`)
    checkKind(detector, report, at)
    if (detector.presidio === null && detector.openai_moderation === null) {
      const matches = detector.matches ?? ''
      checkPattern(matches, report, [...at, 'matches'])
      return { id, matches, confidence: detector.confidence ?? 1 }
    }
    return externalDetector(detector, { ...options, at, onError: defaults.on_error })
  })
}

function checkKind(detector: DetectorValue, report: Report, at: Path): void {
  // A kind whose value is wrong is null here, and reported where it stands.
  const given = KINDS.filter((kind) => report.source.has([...at, kind]))
  report.check(at, given.length > 0, `Expected one of ${KINDS.join(', ')}: what does it look for?`)
  const [first, second] = given
  if (second !== undefined) {
    const message = `Not together with \`${first}\`: a detector has one kind, make it two`
    report.check([...at, second], false, message)
  }
  const isPattern = detector.confidence === null || first === undefined || first === 'matches'
  report.check([...at, 'confidence'], isPattern, 'Only with `matches`: remove it')
}

function externalDetector(
  { id, presidio, openai_moderation: moderation }: DetectorValue,
  options: DetectorOptions & { readonly at: Path; readonly onError: 'allow' | 'deny' },
): ExternalDetectorConfig {
  if (presidio !== null) {
    return {
      id,
      external: serviceOf(presidio, 'presidio', options),
      asks: {
        kind: 'presidio',
        language: presidio.language,
        entities: presidio.entities,
        scoreMin: presidio.min_score,
      },
    }
  }
  const given = moderation as ModerationValue
  return {
    id,
    external: serviceOf(given, 'openai_moderation', options),
    asks: { kind: 'openai_moderation', model: given.model, thresholds: given.thresholds },
  }
}

function serviceOf(
  given: ServiceValue,
  kind: string,
  options: DetectorOptions & { readonly at: Path; readonly onError: 'allow' | 'deny' },
): ExternalDetectorConfig['external'] {
  const at = [...options.at, kind]
  return {
    url: serviceUrl(given.url, options.report, [...at, 'url']),
    credential: options.credential(given, at),
    timeoutMs: given.timeout,
    charsMax: given.max_chars,
    concurrency: given.concurrency,
    cacheTexts: given.cache,
    onError: given.on_error ?? options.onError,
  }
}

/** Never shows the URL: people put passwords in them. */
function serviceUrl(written: string, report: Report, at: Path): string {
  if (written.includes('${')) return written
  const url = URL.canParse(written) ? new URL(written) : null
  const isWeb = url !== null && /^https?:\/\/[^/]/i.test(written)
  report.check(at, isWeb, 'Expected an http(s) URL like http://127.0.0.1:5002')
  if (url === null || !isWeb) return written
  const isBare = url.username === '' && url.password === '' && !/[?#]/.test(written)
  const message = 'A URL cannot hold a user, password, query or fragment here: use `credential`'
  report.check(at, isBare, message)
  return url.href.replace(/\/+$/, '')
}
