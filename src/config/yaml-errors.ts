import type { YAMLError } from 'yaml'

/** What is said of one YAML error, in our words, and where. */
export interface YamlMistake {
  readonly offset: number
  readonly message: string
}

/** What the parser says, and what its reader mostly did. */
const MESSAGES: readonly (readonly [RegExp, string])[] = [
  [
    /^Sequence item without - indicator/,
    'Indent the keys of one item alike: this one starts left of its first',
  ],
  [
    /^All (sequence items|mapping items|collection items) must start/,
    'Indented otherwise than the lines above: items of one list, or keys of one map, start in the same column',
  ],
  [
    /^Implicit keys need to be on a single line/,
    'No colon after the key, or text in several lines: write `key: value`, with a space',
  ],
  [
    /^Implicit map keys need to be followed by map values/,
    'A key without a value: write `key: value`, with a colon and a space',
  ],
  [/^Missing closing ["']quote/, 'The quote before is not closed'],
  [
    /^Unexpected scalar at node end/,
    'Text goes on after a closing quote: put the other kind of quotes around it',
  ],
  [/^Nested mappings are not allowed/, 'YAML reads ": " as another key: quote the text'],
  [/^Tags and anchors must be separated/, 'YAML reads "!" as a tag: quote the expression'],
  [/^Unexpected flow-(?:map|seq)-start/, 'A bracket in text without quotes: quote the text'],
]

/**
 * Says what a YAML error mostly means, at the place to look at. `offset` is where the parser stopped,
 * which for brackets and quotes is where the text ends.
 */
export function yamlMistake(error: YAMLError, text: string, offset: number): YamlMistake {
  const lineStart = text.lastIndexOf('\n', offset - 1) + 1
  const lineEnd = text.indexOf('\n', offset)
  const line = text.slice(lineStart, lineEnd === -1 ? text.length : lineEnd)
  const space = line.search(/\u00a0/)
  if (space !== -1) {
    const message = 'A no-break space (U+00A0) is no space to YAML: type it anew'
    return { offset: lineStart + space, message }
  }
  const closing = /end with a ([\]}])$/.exec(error.message)?.[1]
  if (closing !== undefined) return openBracket(text, offset, closing)
  if (error.code === 'BLOCK_AS_IMPLICIT_KEY' && !/:\s/.test(line.slice(offset - lineStart))) {
    return indentedFurther(text, offset, lineEnd)
  }
  return { offset, message: messageOf(error, text.slice(lineStart, offset)) }
}

/** A key below a text that YAML goes on with. */
function indentedFurther(text: string, offset: number, lineEnd: number): YamlMistake {
  const below = text.slice(lineEnd).search(/\S/)
  const message =
    'Indented further than the key above, whose text YAML goes on with: indent the keys of one item alike, or quote the text'
  return { offset: below === -1 ? offset : lineEnd + below, message }
}

function messageOf(error: YAMLError, before: string): string {
  if (/[{[,:]\s*[^"'\s]*\$$/.test(before)) {
    return 'An unquoted ${…} ends at its brace here: quote it, like "${NAME}"'
  }
  const known = byCode(error, before)
  if (known !== null) return known
  return MESSAGES.find(([pattern]) => pattern.test(error.message))?.[1] ?? error.message
}

const BY_CODE: Readonly<Partial<Record<YAMLError['code'], string>>> = {
  MULTIPLE_DOCS: 'A second document is not read: keep one document in the file',
  BAD_ALIAS: 'A pattern that starts with * must be quoted, like "*"',
  BLOCK_IN_FLOW: 'YAML reads ": " as another key: quote the text',
  TAB_AS_INDENT: 'A tab cannot indent: use spaces',
}

function byCode({ code, message }: YAMLError, before: string): string | null {
  if (code === 'BAD_SCALAR_START') return `${message}: quote the value`
  if (code === 'BAD_DQ_ESCAPE') {
    return `${message}: in "double quotes" a backslash is an escape, put a pattern in 'single quotes'`
  }
  if (code === 'UNEXPECTED_TOKEN' && /[\])}]$/.test(before)) {
    return 'Text goes on after a closing bracket: quote the expression'
  }
  if (code === 'BLOCK_AS_IMPLICIT_KEY') {
    const what = /^\s*(?:- )?message:/.test(before) ? 'text' : 'expression'
    return `YAML reads ": " as another key: quote the ${what}`
  }
  if (code === 'MISSING_CHAR' && message.startsWith('Missing , or :') && /["']$/.test(before)) {
    return 'Text goes on after a closing quote: put the other kind of quotes around it'
  }
  return BY_CODE[code] ?? null
}

/** A `#` after a space hides the bracket that would close; then that is the place to look at. */
function openBracket(text: string, offset: number, closing: string): YamlMistake {
  const lines = text.slice(0, offset).split('\n')
  let end = offset
  for (const line of lines.toReversed()) {
    const start = end - line.length
    const comment = line.search(/\s#/)
    if (comment !== -1 && line.indexOf(closing, comment) !== -1 && isOpen(line.slice(0, comment))) {
      const message = `YAML ends the text at " #", and with it the bracket that closes: quote the text`
      return { offset: start + comment, message }
    }
    end = start - 1
  }
  return { offset, message: `A bracket above is not closed: expected ${closing}` }
}

/** Whether more brackets open than close in it. */
function isOpen(line: string): boolean {
  return line.replaceAll(/[^[{]/g, '').length > line.replaceAll(/[^\]}]/g, '').length
}
