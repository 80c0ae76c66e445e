/** What became of the `${NAME}`s of one string. */
export interface Substituted {
  readonly value: string
  /** Whether anything was replaced; such a string is never shown, it may hold a secret. */
  readonly replaced: boolean
  /** Names without a value and without a default; `value` keeps them as written. */
  readonly unset: readonly string[]
  /** What is wrong with the writing itself; null when nothing is. */
  readonly malformed: string | null
}

/**
 * Replaces `${NAME}` and `${NAME:-default}` (the default also for an empty variable, as in a shell).
 * `$${` stands for a literal `${`. Values are put in as they are: nothing in them is looked at again.
 */
export function substitute(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): Substituted {
  const unset: string[] = []
  let replaced = false
  let malformed: string | null = null
  const value = text.replaceAll(
    /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|\$\{/g,
    (whole: string, name: string | undefined, fallback: string | undefined) => {
      if (whole === '$${') return '${'
      if (name === undefined) {
        malformed = 'expected ${NAME} or ${NAME:-default}; write $${ for a literal ${'
        return whole
      }
      const found = env[name]
      if (found === undefined && fallback === undefined) {
        unset.push(name)
        return whole
      }
      replaced = true
      return found === undefined || (found === '' && fallback !== undefined)
        ? (fallback ?? '')
        : found
    },
  )
  return { value, replaced, unset, malformed }
}
