import {
  BedrockRuntimeClient,
  type BedrockRuntimeServiceException,
  ConverseCommand,
} from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import t from 'tap'

import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: a client of Bedrock is told at once where no upstream speaks its API. */

t.test('@aws-sdk/client-bedrock-runtime, without an upstream of Bedrock', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  // Its own handler speaks HTTP/2, which a plain-text proxy does not.
  const client = new BedrockRuntimeClient({
    region: 'us-east-1',
    endpoint: site.url,
    credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'example' },
    requestHandler: new NodeHttpHandler(),
  })
  const call = new ConverseCommand({
    modelId: 'anthropic.claude-3-haiku-20240307-v1:0',
    messages: [{ role: 'user', content: [{ text: 'hi' }] }],
  })
  const error = await client.send(call).then(
    () => {
      throw new Error('It did not throw')
    },
    (failure: unknown) => failure as BedrockRuntimeServiceException,
  )
  t.equal(error.$metadata.httpStatusCode, 404)
  t.equal(error.$metadata.attempts, 1, 'not tried again')
  t.match(JSON.stringify(error), 'it needs an upstream of dialect bedrock')
  t.equal(upstream.received.length, 0)
})
