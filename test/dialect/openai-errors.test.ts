import t from 'tap'

import { errorBody, errorFrame } from '../../src/dialect/openai-errors.ts'
import { ERRORS, GovernorError } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'

t.test('errorBody() has all four keys for every code', async (t) => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const { error } = JSON.parse(errorBody(new GovernorError(code), 'req-1'))
    t.strictSame(Object.keys(error), ['message', 'type', 'param', 'code'], code)
    t.ok(error.message.startsWith(ERRORS[code].message), code)
  }
})

t.test("errorBody() uses OpenAI's words where there are some", async (t) => {
  const cases: readonly (readonly [ErrorCode, string, string])[] = [
    ['AUTH_KEY_MISSING', 'authentication_error', 'invalid_api_key'],
    ['POLICY_DENIED', 'policy_violation', 'policy_denied'],
    ['LIMIT_EXCEEDED', 'requests', 'rate_limit_exceeded'],
    ['UPSTREAM_UNKNOWN', 'invalid_request_error', 'model_not_found'],
    ['OVERLOADED', 'service_unavailable_error', 'slow_down'],
    ['FIELD_INVALID', 'invalid_request_error', 'field_invalid'],
    ['UPSTREAM_TIMEOUT', 'upstream_error', 'upstream_timeout'],
    ['AUDIT_UNAVAILABLE', 'server_error', 'audit_unavailable'],
  ]
  for (const [code, type, name] of cases) {
    const { error } = JSON.parse(errorBody(new GovernorError(code), 'req-1'))
    t.strictSame([error.type, error.code], [type, name], code)
  }
})

t.test('errorBody() names the place, and the request of an internal error', async (t) => {
  const field = new GovernorError('FIELD_INVALID', { detail: '/n must be 1', param: '/n' })
  t.equal(
    errorBody(field, 'req-1'),
    '{"error":{"message":"A field of the request is not accepted: /n must be 1",' +
      '"type":"invalid_request_error","param":"/n","code":"field_invalid"}}',
  )
  const internal = errorBody(GovernorError.from(new TypeError('secret')), 'req-1')
  t.equal(JSON.parse(internal).error.message, 'Internal error (request req-1)')
})

t.test("errorBody() has Cohere's shape beside OpenAI's where its clients call", async (t) => {
  const error = new GovernorError('POLICY_DENIED', { detail: 'no' })
  const { error: said } = JSON.parse(errorBody(error, 'r', 'chat.completions'))
  for (const api of ['cohere.chat', 'cohere.embed', 'rerank']) {
    const body = JSON.parse(errorBody(error, 'r', api))
    t.strictSame(body, { id: 'r', message: error.message, error: said }, api)
  }
})

t.test('errorFrame() ends a stream in the form of its endpoint', async (t) => {
  const error = new GovernorError('UPSTREAM_FAILED')
  t.equal(
    errorFrame(error, 'r', 'chat.completions'),
    'data: {"error":{"message":"The upstream broke off","type":"upstream_error","param":null,' +
      '"code":"upstream_failed"}}\n\n',
  )
  t.equal(
    errorFrame(error, 'r', 'responses'),
    'event: error\ndata: {"type":"error","code":"upstream_failed",' +
      '"message":"The upstream broke off","param":null,"sequence_number":0,' +
      '"error":{"message":"The upstream broke off","type":"upstream_error","param":null,' +
      '"code":"upstream_failed"}}\n\n',
  )
})
