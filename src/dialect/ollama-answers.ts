/** Where the texts are in Ollama's answers and in the lines of its streams. */
import type { AnswerContent, AnswerEvent, AnswerReader, Framing } from '../nouns/answer.ts'
import { answerContent, type Belongs, COMPLETE, readings, STRUCTURE } from './answers.ts'
import { KIND } from './json-tape.ts'
import type { JsonDocument } from './json.ts'
import { readJson } from './json.ts'
import { LineSplitter } from './lines.ts'
import { runSteps } from './steps.ts'

/** Where an answer says what the model says; arguments of a tool are JSON, not text of it. */
const SAID = /^(?:\/message(?:\/tool_calls\/.*)?\/[^/]+|\/response|\/thinking)$/
/** What goes on from line to line; a call of a tool is whole in its line. */
const PIECE = /^(?:\/message\/(?:content|thinking)|\/response|\/thinking)$/
const LANE = 'answer'
const CR = 0x0d
const LF = 0x0a

/** Lines of JSON, each an event. */
const LINES: Framing = {
  type: /^application\/(?:x-ndjson|jsonl|x-jsonlines)/i,
  sign: /^\s*\{/,
  splitter: (sink) => new LineSplitter(sink),
  parts: (line) => {
    let end = line.length
    while (end > 0 && (line[end - 1] === LF || line[end - 1] === CR)) end--
    return { data: line.subarray(0, end), at: 0, rest: '' }
  },
  withData: (line, { data }, other) => Buffer.concat([other, line.subarray(data.length)]),
}

/** The answers of Ollama's API. */
export const ollamaAnswers: AnswerReader = {
  framing: LINES,
  *whole(body, { jsonDepth }): Generator<unknown, AnswerContent> {
    return yield* answerContent(yield* readJson(body, jsonDepth), ({ path }, key) => ({
      channel: null,
      isSaid: isSaid(path, key),
    }))
  },
  event(data, _api, { jsonDepth }): AnswerEvent {
    const doc = runSteps(readJson(data, jsonDepth))
    const content = runSteps(answerContent(doc, lineText))
    return { ...content, closes: isEnd(doc) ? [''] : [], lanes: [LANE] }
  },
  readings,
}

const lineText: Belongs = ({ path, logprobs }, key) => {
  if (logprobs !== -1) return { channel: 'logprobs', isSaid: false }
  const place = `${path}/${key}`
  if (PIECE.test(place)) return { channel: place, isSaid: true }
  return isSaid(path, key) ? { channel: null, isSaid: true } : COMPLETE
}

function isSaid(path: string, key: string): boolean {
  return !STRUCTURE.has(key) && SAID.test(`${path}/${key}`)
}

function isEnd(doc: JsonDocument): boolean {
  const done = doc.given(0, 'done')
  return done !== -1 && doc.kind(done) === KIND.TRUE
}
