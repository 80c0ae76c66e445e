import { readFileSync } from 'node:fs'

import { openApi } from '../../src/admin/openapi.ts'
import { jsonSchema, referenceMarkdown } from '../../src/config/reference.ts'

const SCHEMA = new URL('../../config/governance.schema.json', import.meta.url)
const GUIDE = new URL('../../config/README.md', import.meta.url)
const ADMIN_API = new URL('../../config/admin-api.openapi.json', import.meta.url)
const BEGIN = '<!-- generated from src/config/schema.ts: do not edit below -->\n'
const END = '<!-- end of generated part -->\n'

/** The files in config/ that come from the table, as they should be. */
export function generated(): { readonly url: URL; readonly content: string }[] {
  return [
    { url: SCHEMA, content: `${JSON.stringify(jsonSchema(), null, 2)}\n` },
    { url: ADMIN_API, content: `${JSON.stringify(openApi(), null, 2)}\n` },
    { url: GUIDE, content: guide() },
  ]
}

function guide(): string {
  const now = readFileSync(GUIDE, 'utf8')
  const [before = '', rest = ''] = now.split(BEGIN)
  const after = rest.split(END)[1] ?? ''
  return `${before}${BEGIN}\n${referenceMarkdown()}\n${END}${after}`
}

/** Without what the formatter decides: spaces, line breaks and the width of tables. */
export function unformatted(text: string): string {
  return text.replaceAll(/\s+/g, '').replaceAll(/-{3,}/g, '---')
}
