import { FILE } from './schema.ts'
import type { Field, Fields, Shape, Spec } from './spec.ts'

/** Texts generated from the table in `schema.ts`; tests compare them with the files in config/. */

const VARIABLE = { type: 'string', pattern: '\\$\\{' } as const

/** JSON Schema (2020-12) of governance.yaml, for editors: as strict as a schema can say it. */
export function jsonSchema(): Readonly<Record<string, unknown>> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'governance.yaml',
    description: 'Configuration of Governor, generated from src/config/schema.ts.',
    ...shapeSchema(FILE.shape),
  }
}

/** The configuration reference as Markdown: a table for every map, headed by its path. */
export function referenceMarkdown(): string {
  const sections: string[] = []
  const seen = new Set<string>()
  const visit = (spec: Spec<unknown>) => {
    const { shape } = spec
    if (shape.kind === 'list') return visit(shape.item)
    if (shape.kind === 'record') return visit(shape.value)
    if (shape.kind !== 'map' || seen.has(shape.name)) return
    seen.add(shape.name)
    sections.push(section(shape.name, shape.fields))
    for (const field of Object.values(shape.fields)) visit(field.spec)
  }
  visit(FILE)
  return sections.join('\n')
}

function section(name: string, fields: Fields): string {
  const entries = Object.entries(fields)
  const built = entries.filter(([, { spec }]) => spec.shape.kind !== 'later')
  const rows = built.map(([key, field]) =>
    row([`\`${key}\``, takes(field), initial(field), field.doc]),
  )
  const notBuilt = entries.filter(([, { spec }]) => spec.shape.kind === 'later')
  const tail = notBuilt.map(([key]) => `\`${key}\``).join(' ')
  return [
    `#### ${name}`,
    '',
    row(['key', 'takes', 'default', 'meaning']),
    row(['---', '---', '---', '---']),
    ...rows,
    '',
    ...(tail === '' ? [] : [`Not supported in this version, and refused: ${tail}`, '']),
  ].join('\n')
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

function initial({ presence, spec }: Field<unknown>): string {
  if (presence === 'required') return '**required**'
  if (presence === 'optional') return '–'
  const isMap = spec.shape.kind === 'map' && spec.shape.orValue === undefined
  return isMap ? 'each its own' : `\`${presence.written}\``
}

function takes({ spec: { shape } }: Field<unknown>): string {
  if (shape.kind === 'map') return takesMap(shape)
  if (shape.kind === 'list') {
    return shape.item.shape.kind === 'map' ? `list of ${link(shape.item.shape.name)}` : 'list'
  }
  if (shape.kind === 'choice') return shape.values.map((value) => `\`${value}\``).join(' ')
  if (shape.kind === 'integer' && shape.min === shape.max) return `\`${shape.min}\``
  if (shape.kind === 'integer') return `${shape.min} – ${shape.max}`
  if (shape.kind === 'duration' || shape.kind === 'size') {
    return `${shape.kind}, ${shape.min} – ${shape.max}`
  }
  return TAKES[shape.kind]
}

function takesMap({ name, orValue, orText }: Shape & { kind: 'map' }): string {
  if (orValue !== undefined) {
    return `${orValue.kind === 'number' ? 'number' : 'text'} or ${link(name)}`
  }
  return orText === undefined ? link(name) : `${link(name)} or text`
}

const TAKES = {
  text: 'text',
  expression: 'text',
  record: 'map',
  names: 'list or `$set`',
  texts: 'text or list',
  fraction: '0 – 1',
  number: 'number',
  boolean: '`true` `false`',
  secret: '`${NAME}`',
  rate: 'rate',
  cost: 'cost',
  price: 'USD per 1M tokens',
  address: 'address',
  later: '',
} as const

/** GitHub's anchor of a heading: lower case, spaces to hyphens, other punctuation dropped. */
function link(name: string): string {
  const anchor = name
    .toLowerCase()
    .replaceAll(' ', '-')
    .replaceAll(/[^\w-]/g, '')
  return `[${name}](#${anchor})`
}

function shapeSchema(shape: Shape): Readonly<Record<string, unknown>> {
  if (shape.kind === 'map') {
    const schema = mapSchema(shape.fields)
    if (shape.orValue !== undefined) return { anyOf: [shapeSchema(shape.orValue), schema] }
    return shape.orText === undefined ? schema : { anyOf: [{ type: 'string' }, schema] }
  }
  if (shape.kind === 'record') {
    const additionalProperties = shapeSchema(shape.value.shape)
    return { type: 'object', maxProperties: shape.max, additionalProperties }
  }
  if (shape.kind === 'list') {
    const items = shapeSchema(shape.item.shape)
    return { type: 'array', minItems: shape.min, maxItems: shape.max, items }
  }
  if (shape.kind === 'names') {
    const items = { type: 'string' }
    const whole = { type: 'array', minItems: 1, maxItems: shape.max, items }
    return { anyOf: [{ type: 'string', pattern: '^\\$[^{]' }, whole] }
  }
  if (shape.kind === 'choice') return { anyOf: [{ enum: shape.values }, VARIABLE] }
  if (shape.kind === 'texts') {
    const items = { type: 'string' }
    return { anyOf: [items, { type: 'array', maxItems: shape.max, items }] }
  }
  if (shape.kind === 'integer') {
    return { anyOf: [{ type: 'integer', minimum: shape.min, maximum: shape.max }, VARIABLE] }
  }
  if (shape.kind === 'later') return { not: {} }
  return plainSchema(shape)
}

function plainSchema(shape: Shape): Readonly<Record<string, unknown>> {
  if (shape.kind === 'boolean') return { type: 'boolean' }
  if (shape.kind === 'number') {
    const type = shape.isWhole ? 'integer' : 'number'
    return { type, minimum: shape.min, maximum: shape.max }
  }
  if (shape.kind === 'fraction') return { type: 'number', minimum: 0, maximum: 1 }
  if (shape.kind === 'price') return { type: 'number', minimum: 0, maximum: 10_000 }
  return { type: 'string', ...pattern(shape) }
}

function pattern({ kind }: Shape): { readonly pattern?: string } {
  if (kind === 'duration') return { pattern: '^\\d+(ms|s|m|h|d)$|\\$\\{' }
  if (kind === 'size') return { pattern: '^\\d+(B|KiB|MiB|GiB|TiB)$|\\$\\{' }
  if (kind === 'rate') return { pattern: '^\\d+[kM]?/[0-9a-z]+$|\\$\\{' }
  if (kind === 'cost') return { pattern: '^\\d+(\\.\\d+)? USD/[0-9a-z]+$|\\$\\{' }
  return kind === 'address' ? { pattern: ':\\d{1,5}$|\\$\\{' } : {}
}

function mapSchema(fields: Fields): Readonly<Record<string, unknown>> {
  const entries = Object.entries(fields)
  const mandatory = entries.filter(([, { presence }]) => presence === 'required')
  const properties = entries.map(([key, { spec, doc }]) => {
    const notBuilt = spec.shape.kind === 'later' ? ' Not supported in this version.' : ''
    return [key, { description: `${doc}${notBuilt}`, ...shapeSchema(spec.shape) }] as const
  })
  return {
    type: 'object',
    additionalProperties: false,
    ...(mandatory.length === 0 ? {} : { required: mandatory.map(([key]) => key) }),
    properties: Object.fromEntries(properties),
  }
}
