/** A provider whose paths are known by sight. */
interface Foreign {
  readonly paths: RegExp
  /** Dialects of upstreams that take such a path; none where no version of Governor does. */
  readonly dialects: readonly string[]
  readonly hint: string
}

const FOREIGN: readonly Foreign[] = [
  whose(/^\/(?:v1\/)?messages(?:\/|$)/, 'anthropic', "Anthropic's API"),
  whose(/^\/openai\/(?:deployments|v1)\//, 'azure-openai', 'Azure OpenAI'),
  whose(/^\/v1(?:beta)?\/models\/[^/]+:[A-Za-z]/, 'gemini', "Gemini's API"),
  whose(/^\/v1beta\//, 'gemini', "Gemini's API"),
  whose(/^\/api\/[a-z]+$/, 'ollama', "Ollama's API"),
  whose(/^\/model\/[^/]+\/(?:invoke|converse|count-tokens)/, 'bedrock', "Amazon Bedrock's API"),
  whose(/^\/(?:v1\/)?(?:chat\/completions|responses|embeddings)$/, 'openai', "OpenAI's API"),
  whose(/^\/v2\/(?:chat|embed|rerank)$/, 'openai', "Cohere's API"),
  {
    paths:
      /^\/v2\/(?:parse|batches|audio)(?:\/|$)|^\/v1\/(?:chat|generate|embed|embed-jobs|classify|summarize|tokenize|detokenize|datasets)$/,
    dialects: [],
    hint: "This is a path of Cohere's API, of which chat, embed and rerank of version 2 are supported (CohereClientV2)",
  },
  {
    paths:
      /^\/v1\/(?:fim|ocr|libraries|connectors|batch\/jobs|chat\/moderations|(?:chat\/)?classifications)(?:\/|$)/,
    dialects: [],
    hint: "This is a path of Mistral's API, of which chat, embeddings, moderations, transcriptions and models are supported in this version",
  },
  {
    paths: /^\/v1(?:beta1)?\/(?:projects|publishers)\//,
    dialects: [],
    hint: "Vertex AI is not supported in this version: use Gemini's API, which takes the same models",
  },
  {
    paths:
      /^\/(?:async-invoke|guardrail|guardrail-checks)(?:\/|$)|^\/model\/[^/]+\/invoke-with-bidi/,
    dialects: [],
    hint: 'Of Amazon Bedrock only invoke, converse, their streams and count-tokens are supported in this version',
  },
]

function whose(paths: RegExp, dialect: string, api: string): Foreign {
  const hint = `This is a path of ${api}: it needs an upstream of dialect ${dialect}`
  return { paths, dialects: [dialect], hint }
}

/**
 * What to tell a client whose path, below its mount, none of the upstreams knows: that it speaks the
 * API of a provider that is not configured. Undefined where the path is nobody's by sight, or an
 * upstream of that provider is there and refused it.
 */
export function foreignHint(path: string, dialects: readonly string[]): string | undefined {
  const found = FOREIGN.find(({ paths }) => paths.test(path))
  return found?.dialects.some((name) => dialects.includes(name)) === true ? undefined : found?.hint
}
