import { AZURE_WAYS } from './resolve-azure-chain.ts'
import { choice, defaulted, map, required, text } from './spec.ts'

/** Where the token of Entra ID comes from that is sent instead of a key. */
export const AZURE = map('upstreams.azure', {
  credentials: required(
    choice([...AZURE_WAYS]),
    'Where tokens are fetched, by the variables of the Azure SDKs; `chain` is the first of the others that they say. See [Azure](#tokens-of-azure).',
  ),
  scope: defaulted(
    text('a scope like https://cognitiveservices.azure.com/.default', /^[!-~]+\/\.default$/, 256),
    'https://cognitiveservices.azure.com/.default',
    'What the token is for.',
  ),
})
