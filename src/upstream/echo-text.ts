/** A request body as the echo reads it; it has passed inspection, so nothing here is checked twice. */
export type EchoBody = Readonly<Record<string, unknown>>

/** An answer to send piece by piece. */
export type Pieces = readonly (string | Buffer)[]

/** The echo's idea of a token: a run of characters without white space. */
export function countTokens(text: string): number {
  return text.split(/\s+/).filter((word) => word !== '').length
}

/** Words with the white space that follows them, so that the pieces joined are the text. */
export function words(text: string): string[] {
  return text.match(/\S+\s*|\s+/g) ?? []
}

/** All text in a message's `content`, be it a string or parts. */
export function contentText(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return (content as { text?: unknown }[])
    .map((part) => (typeof part?.text === 'string' ? part.text : ''))
    .join('')
}

/** The `messages` of a chat; none where it has no list of them. */
export function messages(body: EchoBody): { content?: unknown }[] {
  return Array.isArray(body['messages']) ? (body['messages'] as { content?: unknown }[]) : []
}

/** What a chat is answered with: the text of its last message. */
export function echoed(body: EchoBody): string {
  return `echo: ${contentText(messages(body).at(-1)?.content)}`
}
