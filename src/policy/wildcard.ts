/** Patterns of names where `*` stands for any text, the only wildcard; anchored at both ends. */

/** Tells whether a name is among the patterns it was made of. */
export type NameTest = (name: string) => boolean

interface Glob {
  readonly start: string
  readonly middle: readonly string[]
  readonly end: string
}

/**
 * Compiles `patterns` into one test: plain names are looked up, those with `*` are tried one after the
 * other, each in time linear in the name for every piece between two `*`. Case counts.
 */
export function compileNames(patterns: readonly string[]): NameTest {
  if (patterns.includes('*')) return () => true
  const plain = new Set(patterns.filter((pattern) => !pattern.includes('*')))
  const globs = patterns.filter((pattern) => pattern.includes('*')).map(compileGlob)
  if (globs.length === 0) return (name) => plain.has(name)
  return (name) => plain.has(name) || globs.some((glob) => matchesGlob(glob, name))
}

function compileGlob(pattern: string): Glob {
  const pieces = pattern.split('*')
  return {
    start: pieces[0] ?? '',
    middle: pieces.slice(1, -1).filter((piece) => piece !== ''),
    end: pieces.at(-1) ?? '',
  }
}

/** The leftmost place for each piece is as good as any, so nothing is ever tried twice. */
function matchesGlob({ start, middle, end }: Glob, name: string): boolean {
  if (name.length < start.length + end.length) return false
  if (!name.startsWith(start) || !name.endsWith(end)) return false
  let at = start.length
  for (const piece of middle) {
    const found = name.indexOf(piece, at)
    if (found === -1) return false
    at = found + piece.length
  }
  return at <= name.length - end.length
}
