/** The OpenAI API: the endpoints of `openai-table.ts`. */
import type { Dialect, Facts, Reading, Route } from '../exchange.ts'
import { FORMS, inspectForm } from './form.ts'
import { openaiAnswers } from './openai-answers.ts'
import { errorBody, errorFrame } from './openai-errors.ts'
import { inspect } from './openai-inspect.ts'
import { meter } from './openai-meter.ts'
import { parameters } from './openai-parameters.ts'
import { openaiRealtime } from './openai-realtime.ts'
import { openaiResponsesSocket } from './openai-responses-socket.ts'
import { lookup } from './openai-routes.ts'

/** The dialect of OpenAI and of the many servers that speak its API. */
export const openai: Dialect = {
  name: 'openai',
  requestIdHeader: 'x-request-id',
  requestHeaders: [
    'accept',
    'idempotency-key',
    'openai-beta',
    'traceparent',
    'user-agent',
    'x-client-request-id',
    'x-stainless-*',
  ],
  responseHeaders: [
    'cache-control',
    'content-disposition',
    'content-type',
    'openai-*',
    'retry-after',
    'retry-after-ms',
    'x-ratelimit-*',
    'x-request-id',
    'x-should-retry',
  ],
  lookup,
  inspect: inspectEither,
  parameters,
  credential: (secret) => ({ authorization: `Bearer ${secret}` }),
  errorBody,
  errorFrame,
  answers: openaiAnswers,
  sockets: [openaiRealtime, openaiResponsesSocket],
  meter,
}

/** By what the body is; an endpoint takes only what its line of the table says. */
function inspectEither(route: Route, body: Buffer, reading: Reading): Promise<Facts> {
  const { boundary } = reading
  if (boundary === undefined) return inspect(route, body, reading)
  return inspectForm(FORMS[route.endpoint.api]!, route, body, { ...reading, boundary })
}
