import { OPERATIONS, UNINSPECTABLE_KINDS, UNUSUAL } from '../exchange.ts'
import {
  boolean,
  choice,
  defaulted,
  expression,
  integer,
  list,
  map,
  number,
  optional,
  record,
  required,
  text,
  texts,
} from './spec.ts'

/** The keys of `tests:`: a request described instead of made, and what should be decided of it. */

const NAME = /^\P{Cc}*[^\s\p{Cc}]\P{Cc}*$/u
const LABEL = /^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$/
const MODEL = /^[^\s\p{Cc}]+$/u
/** RFC 3339, with the seconds optional. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)$/
const labels = record(text('a label value'), { key: LABEL, max: 64 })
const few = { min: 0, max: 64 }

/** The most tests one file may hold. */
const TESTS_MAX = 1000

const request = map('tests.request', {
  tenant: optional(text('a tenant'), 'The caller’s tenant.'),
  user: optional(text('a user'), 'The caller’s user.'),
  key: optional(text('a key'), 'The caller’s key; stands for its id and its name.'),
  roles: defaulted(list(text('a role'), few), '[]', 'The caller’s roles.'),
  labels: defaulted(labels, '{}', 'The caller’s labels.'),
  unusual: defaulted(
    list(choice(UNUSUAL), { min: 0, max: 4 }),
    '[]',
    'What is unusual about the call for its caller.',
  ),
  operation: defaulted(
    text('an operation', NAME, 64),
    'chat',
    `What is asked for: ${OPERATIONS.join(' ')}.`,
  ),
  model: optional(text('a model name', MODEL), 'As a client would send it; absent names none.'),
  input: defaulted(
    texts('a text', { max: 1000, charsMax: 100_000 }),
    '[]',
    'The prompt: a text or a list of texts.',
  ),
  stream: defaulted(boolean(), 'false', 'Whether the answer is asked for as a stream.'),
  max_output_tokens: optional(integer(0, 1_000_000_000), 'The cap the call asks for.'),
  tools: defaulted(
    list(text('a tool name'), { min: 0, max: 1000 }),
    '[]',
    'Names of the tools it offers.',
  ),
  detected: defaulted(
    list(text('a detector'), few),
    '[]',
    'Detectors that are services (`presidio`, `openai_moderation`) and would find something: tests ask none.',
  ),
  uninspectable: defaulted(
    list(choice(UNINSPECTABLE_KINDS), { min: 0, max: 16 }),
    '[]',
    'Kinds of content in it that nobody can read.',
  ),
  time: optional(
    text('a time, like 2026-11-21T14:30:00Z', TIME, 40),
    'When the call is made; absent is the moment of the test.',
  ),
})

const any = optional(number(-2, 1_000_000_000), 'The value that goes on.')
const word = optional(text('a text', NAME, 64), 'The value that goes on.')

const set = map('tests.expect.set', {
  max_output_tokens: any,
  n: any,
  temperature: any,
  top_p: any,
  presence_penalty: any,
  frequency_penalty: any,
  reasoning_effort: word,
  service_tier: word,
})

const expectation = map('tests.expect', {
  decision: required(choice(['allow', 'deny']), 'What is decided.'),
  policy: optional(text('a policy id', NAME, 64), 'The policy that decides.'),
  reason: optional(
    expression('a reason', 1000),
    'The whole text a refused client reads; of a refusal only.',
  ),
  why: optional(
    text('field names, like models, input.matches', NAME, 500),
    'The fields that decided, as the audit entry names them; with `policy`.',
  ),
  redacted: optional(
    texts('a text', { max: 1000, charsMax: 100_000 }),
    'The input as it goes on, with its placeholders: a text or a list of texts.',
  ),
  answer: optional(
    texts('a text', { max: 1000, charsMax: 100_000 }),
    'The answer as it goes on, with its placeholders; with `answer` beside `request`.',
  ),
  set: optional(set, 'Parameters that are put or clamped; those not named are not looked at.'),
})

/** Run by `governor test`, checked whenever the file is loaded. */
export const TESTS = list(
  map('tests', {
    name: required(text('a name'), 'Unique; what the test shows, as a sentence.'),
    request: required(request, 'Who calls, and what is asked for.'),
    answer: optional(
      texts('a text', { max: 1000, charsMax: 100_000 }),
      'What the model answers, for policies on `output`: a text or a list of texts, each looked at as a whole.',
    ),
    expect: required(expectation, 'What should be decided.'),
  }),
  { min: 0, max: TESTS_MAX },
)
