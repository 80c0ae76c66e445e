import { countTokens, type EchoBody, type Pieces, words } from './echo-text.ts'

/** A file as the echo keeps it. */
interface EchoFile {
  readonly filename: string
  readonly bytes: number
}

const PART = /name="([^"]*)"(?:; ?filename="([^"]*)")?/

/** The fields of a form, which has passed inspection: texts as texts, of files their name and size. */
export function readForm(type: string, body: Buffer): EchoBody {
  const boundary = `--${type.slice(type.indexOf('boundary=') + 'boundary='.length)}`
  const fields: Record<string, unknown> = {}
  for (const part of `\r\n${body.toString('latin1')}`.split(`\r\n${boundary}`).slice(1, -1)) {
    const at = part.indexOf('\r\n\r\n') + 4
    const [, name = '', filename] =
      PART.exec(Buffer.from(part.slice(0, at), 'latin1').toString()) ?? []
    const content = Buffer.from(part.slice(at), 'latin1')
    const file: EchoFile | null =
      filename === undefined ? null : { filename, bytes: content.length }
    fields[name] = file ?? (name === 'stream' ? content.toString() === 'true' : content.toString())
  }
  return fields
}

function fileOf(body: EchoBody): EchoFile {
  return (body['file'] as EchoFile | undefined) ?? { filename: '', bytes: 0 }
}

function said(body: EchoBody): string {
  const { filename, bytes } = fileOf(body)
  return `echo: ${filename}, ${bytes} bytes`
}

function usageOf(body: EchoBody) {
  const output = countTokens(said(body))
  return { type: 'tokens', input_tokens: 1, output_tokens: output, total_tokens: output + 1 }
}

/** A transcription that says the name and the size of what it was sent. */
export function transcriptAnswer(body: EchoBody): object {
  return { text: said(body), usage: usageOf(body) }
}

/** The same, one word an event. */
export function transcriptStream(body: EchoBody): Pieces {
  const text = said(body)
  const events = [
    ...words(text).map((delta) => ({ type: 'transcript.text.delta', delta })),
    { type: 'transcript.text.done', text, usage: usageOf(body) },
  ]
  return events.map((event) => `data: ${JSON.stringify(event)}\n\n`)
}

/** What a store says of a file it was sent. */
export function fileAnswer(body: EchoBody, id: string): object {
  const { filename, bytes } = fileOf(body)
  const told = { id: `file-${id}`, object: 'file', filename, bytes, created_at: 0 }
  return { ...told, purpose: body['purpose'] ?? null, status: 'processed' }
}
