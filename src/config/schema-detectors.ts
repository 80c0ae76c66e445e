import { PATTERN_CHARS_MAX } from './schema-texts.ts'
import {
  choice,
  defaulted,
  duration,
  expression,
  fraction,
  integer,
  list,
  map,
  optional,
  record,
  required,
  secret,
  text,
} from './spec.ts'

/** The keys of `detectors:`: a pattern, or a service that is asked over HTTP. */

const ID = /^[a-z0-9][a-z0-9_-]{0,63}$/
/** `PERSON`, `self-harm/intent`: what services call what they find. */
const KIND = /^[A-Za-z][A-Za-z0-9_/-]{0,63}$/
const LANGUAGE = /^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$/
const MODEL = /^[^\s\p{Cc}]+$/u

/** The most detectors of one's own. */
const DETECTORS_MAX = 100

/** What every service that is asked over HTTP has. */
const service = {
  credential: optional(
    secret(),
    'Sent as `Authorization: Bearer …`; only as `${NAME}`. Absent where the service wants none.',
  ),
  credential_file: optional(
    text('a path', undefined, 4096),
    'A file holding it instead, read when the configuration is loaded.',
  ),
  timeout: defaulted(
    duration('10ms', '1m'),
    '2s',
    'For the whole answer, waiting for a free connection included; then `on_error`.',
  ),
  max_chars: defaulted(
    integer(1, 10_000_000),
    '100000',
    'The most characters of one call that are sent; a call with more is `on_error`.',
  ),
  concurrency: defaulted(
    integer(1, 1000),
    '16',
    'Connections, and so questions at once; others wait.',
  ),
  cache: defaulted(
    integer(0, 1_000_000),
    '10000',
    'Texts whose verdict is remembered while the configuration stays; by a keyed hash, never the text. 0 remembers none.',
  ),
  on_error: optional(
    choice(['deny', 'allow']),
    'When it fails, is late, or answers something else: `deny` refuses where a policy depends on it, `allow` does as if nothing was found. `defaults.on_error` when absent.',
  ),
}

const detector = map('detectors', {
  id: required(
    text('an id of a-z, 0-9, _ and -, at most 64 characters', ID, 64),
    'Unique, and not that of a detector that comes with Governor.',
  ),
  matches: optional(
    expression('a pattern', PATTERN_CHARS_MAX),
    'An RE2 pattern; counts among the patterns of the file.',
  ),
  confidence: optional(
    fraction(),
    'With `matches`: how sure a match is, 1 when absent; below 1 the audit entry says it beside the id.',
  ),
  presidio: optional(
    map('detectors.presidio', {
      url: required(
        text('an http(s) URL', undefined, 2048),
        'Where the analyzer is; `/analyze` is put behind it.',
      ),
      language: defaulted(
        text('a language, like en', LANGUAGE, 12),
        'en',
        'The language texts are read in.',
      ),
      entities: optional(
        list(text('an entity, like PERSON', KIND, 64), { min: 1, max: 100 }),
        'Entities it looks for; absent means all it knows.',
      ),
      min_score: defaulted(fraction(), '0.5', 'Findings below it do not count.'),
      ...service,
    }),
    'A Presidio analyzer: finds personal data, and says where, so that `redact` can mask it.',
  ),
  openai_moderation: optional(
    map('detectors.openai_moderation', {
      url: defaulted(
        text('an http(s) URL', undefined, 2048),
        'https://api.openai.com',
        'Whose API it is; `/v1/moderations` is put behind it.',
      ),
      model: defaulted(
        text('a model name', MODEL),
        'omni-moderation-latest',
        'The model that judges.',
      ),
      thresholds: optional(
        record(fraction(), { key: KIND, max: 100 }),
        'Score by category, like `{ violence: 0.7, self-harm: 0.3 }`: found from there on, other categories do not count. Absent: what the service flags.',
      ),
      ...service,
    }),
    'OpenAI’s moderation endpoint, or one that speaks like it.',
  ),
})

/** Every detector of the file; exactly one of `matches`, `presidio`, `openai_moderation` is checked later. */
export const DETECTOR_LIST = list(detector, { min: 0, max: DETECTORS_MAX })
