/** What the lines of both kinds of bundles have in common. */

/** What a line says of a body: as text where that keeps every byte. */
export function bodyMember(body: Buffer): { readonly body: string } | { readonly base64: string } {
  const text = body.toString('utf8')
  return Buffer.from(text).equals(body) ? { body: text } : { base64: body.toString('base64') }
}

/** The bytes of the body that `bodyMember` wrote into a line. */
export function bodyOfLine({ body, base64 }: Readonly<Record<string, unknown>>): Buffer {
  return typeof base64 === 'string' ? Buffer.from(base64, 'base64') : Buffer.from(String(body))
}

/** What is wrong with a bundle whose last line counts other than `entries`. */
export function miscounted(said: unknown, entries: number): string {
  return `its last line counts ${JSON.stringify(said)} entries, and it has ${entries}`
}
