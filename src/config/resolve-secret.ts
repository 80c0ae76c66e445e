import { dirname, resolve } from 'node:path'

import type { Path } from './problem.ts'
import type { Report } from './report.ts'

/** Where a secret may come from: read as `${NAME}`, or a file that holds it. */
interface SecretValue {
  readonly value: string | null
  readonly file: string | null
}

interface SecretContext {
  /** The key; the one of its file is `<key>_file`. */
  readonly key: string
  /** The map both are in. */
  readonly at: Path
  readonly report: Report
  readonly options: {
    readonly file: string
    readonly readSecret: (path: string) => { readonly secret: string } | { readonly wrong: string }
  }
  /** Whether a literal does no harm here. */
  readonly literal: boolean
}

/** The secret, or null where there is none; a literal, both at once and a bad file are reported. */
export function resolveSecret({ value, file }: SecretValue, context: SecretContext): string | null {
  const { key, at, report, options, literal } = context
  const here = [...at, key]
  if (value !== null && !literal) {
    const raw = report.source.raw(here) ?? ''
    report.check(here, /(?<!\$)\$\{[A-Za-z_]/.test(raw), literalMessage(key, raw))
  }
  if (file === null) return value
  const fileAt = [...at, `${key}_file`]
  const alone = report.source.raw(here) === null
  report.check(fileAt, alone, `Not together with \`${key}\`: remove one`)
  if (!report.clean(fileAt) || file.includes('${')) return null
  const found = options.readSecret(resolve(dirname(options.file), file))
  if ('secret' in found) return found.secret
  report.check(fileAt, false, found.wrong)
  return null
}

/** Somebody who writes a word for nothing has no secret to hide. */
function literalMessage(key: string, raw: string): string {
  const what = key === 'credential' ? 'credential' : 'secret'
  return /^(?:none|no|null|nil|false|off|anonymous)$/i.test(raw.trim())
    ? `\`${raw.trim()}\` would be sent as the ${what}: leave \`${key}\` out where none is wanted`
    : `A literal ${what} is not accepted: write \${NAME}, or name a file in \`${key}_file\``
}
