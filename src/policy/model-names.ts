import { compileNames } from './wildcard.ts'

/**
 * Every name a model goes by, so that a policy on one of them cannot be walked around by another: as
 * sent, without each leading `provider/` or `models/`, without the tag `latest`, the base of a
 * fine-tune, and by aliases in both directions. All in lower case.
 */

/** Calls name the same few models again and again. */
const CACHE_ENTRIES_MAX = 1_000
/** Longer names are worked out each time. */
const CACHE_LENGTH_MAX = 256
/** The tag that a name of Ollama's has where it has none. */
const LATEST = ':latest'
/** Prefixes taken off one by one; of a name with more the rest is looked at without all of them. */
const PREFIXES_MAX = 16

/** Aliases both ways, from lower-case name to names. */
export type Aliases = ReadonlyMap<string, readonly string[]>

/** Turns the aliases of a file into both directions. */
export function compileAliases(aliases: Readonly<Record<string, string>>): Aliases {
  const names = new Map<string, string[]>()
  const link = (from: string, to: string) => names.set(from, [...(names.get(from) ?? []), to])
  for (const [alias, target] of Object.entries(aliases)) {
    link(alias.toLowerCase(), target.toLowerCase())
    link(target.toLowerCase(), alias.toLowerCase())
  }
  return names
}

/**
 * Where one of Bedrock's inference profiles looks for its model (`us.`, `eu.`, `us-gov.`, `apac.`, `global.`),
 * before the name of a provider and of the model itself.
 */
const REGION = /(^|\/)(?:[a-z]{2}(?:-[a-z]{2,8})?|apac|global)\.(?=[a-z][a-z0-9-]*\.)/i

/**
 * Tells whether a model matches one of `patterns` (`*` the only wildcard, case ignored) by any of its
 * names: to refuse, to narrow, to choose an upstream.
 */
export function wideMatcher(
  patterns: readonly string[],
  names: ModelNames,
): (model: string) => boolean {
  const is = compileNames(patterns.map((pattern) => pattern.toLowerCase()))
  // A registry takes a name without a tag for the tag `latest`.
  const matches = (model: string): boolean =>
    names.of(model).some((name) => is(name) || (!name.includes(':') && is(`${name}${LATEST}`)))
  return (model) => matches(model) || (REGION.test(model) && matches(model.replace(REGION, '$1')))
}

/**
 * Tells whether a model matches by what it ends up as, to let it pass: of `gpt-4o/claude-opus` that is
 * `claude-opus`, so `gpt-4o*` does not match, while it does match `openai/gpt-4o`. A pattern with `/` is
 * about the whole path, in which only a `*` that is a segment of its own stands for more than one.
 */
export function strictMatcher(
  patterns: readonly string[],
  names: ModelNames,
): (model: string) => boolean {
  const lower = patterns.map((pattern) => pattern.toLowerCase())
  const is = compileNames(lower)
  const paths = lower.filter((pattern) => pattern.includes('/')).map(compilePath)
  return (model) => {
    const last = model.lastIndexOf('/')
    if (last === -1) return names.of(model).some(is)
    if (names.of(model.slice(last + 1)).some(is)) return true
    if (names.aliasesOf(model).some(is)) return true
    const path = model.toLowerCase()
    return pathsOf(path).some((each) => paths.some((matches) => matches(each)))
  }
}

function compilePath(pattern: string): (path: string) => boolean {
  const is = compileNames([pattern])
  if (pattern.split('/').includes('*')) return is
  const depth = pattern.split('/').length
  return (path) => path.split('/').length === depth && is(path)
}

/** A path and what is left of it without each leading segment but the last. */
function pathsOf(path: string): readonly string[] {
  return [path, ...withoutPrefixes(path)].filter((each) => each.includes('/'))
}

/** Names of models, remembered for as long as a snapshot lives. */
export class ModelNames {
  readonly #aliases: Aliases
  readonly #cache = new Map<string, readonly string[]>()

  constructor(aliases: Aliases) {
    this.#aliases = aliases
  }

  /** What the file calls `model`, and what it calls by that name. */
  aliasesOf(model: string): readonly string[] {
    return this.#aliases.get(model.toLowerCase()) ?? []
  }

  /** Every name of `model`, the one that was sent first. */
  of(model: string): readonly string[] {
    const known = this.#cache.get(model)
    if (known !== undefined) return known
    const names = namesOf(model, this.#aliases)
    if (model.length <= CACHE_LENGTH_MAX) {
      if (this.#cache.size >= CACHE_ENTRIES_MAX) this.#cache.clear()
      this.#cache.set(model, names)
    }
    return names
  }
}

function namesOf(model: string, aliases: Aliases): readonly string[] {
  const names = new Set([model.toLowerCase()])
  // A set hands out what is added while it is walked: names of names of names, each once.
  for (const name of names) {
    for (const short of withoutPrefixes(name)) names.add(short)
    const base = baseOfFineTune(name)
    if (base !== null) names.add(base)
    if (name.endsWith(LATEST)) names.add(name.slice(0, -LATEST.length))
    for (const alias of aliases.get(name) ?? []) names.add(alias)
  }
  return [...names]
}

function withoutPrefixes(name: string): readonly string[] {
  const names: string[] = []
  let rest = name
  for (let slash = rest.indexOf('/'); slash !== -1; slash = rest.indexOf('/')) {
    if (names.length === PREFIXES_MAX) return [...names, name.slice(name.lastIndexOf('/') + 1)]
    rest = rest.slice(slash + 1)
    names.push(rest)
  }
  return names
}

/** `ft:gpt-4o:org:name:id[:ckpt-step-N]` and the older `davinci:ft-org-date`; null for other names. */
function baseOfFineTune(name: string): string | null {
  if (name.startsWith('ft:')) {
    const end = name.indexOf(':', 3)
    return end === -1 ? name.slice(3) : name.slice(3, end)
  }
  const suffix = name.indexOf(':ft-')
  return suffix > 0 ? name.slice(0, suffix) : null
}
