import { RE2JS } from 're2js'

/** Instruction codes of re2js 2.10, the version that is pinned; a test compares them with its matches. */
const ALT = 1
const ALT_MATCH = 2
const FAIL = 5
const MATCH = 6
const RUNE_FIRST = 8
const RUNE_LAST = 11
const RUNE_ANY = 10

const BMP_LAST = 0xffff

interface Instruction {
  readonly op: number
  readonly out: number
  readonly arg: number
  readonly runes: ArrayLike<number>
}

/**
 * UTF-16 units of the longest text that `pattern` (RE2, one that compiles) matches; null when there is
 * no longest. Read off the engine's own compiled program: the longest way through it, a loop that
 * reads something having none.
 */
export function longestMatchUnits(pattern: string): number | null {
  const program: { readonly start: number; readonly inst: readonly Instruction[] } =
    RE2JS.compile(pattern).re2().prog
  const longest = Array.from({ length: program.inst.length }, () => -1)
  const isOpen = new Uint8Array(program.inst.length)
  const stack = [program.start]
  while (stack.length > 0) {
    const place = stack.at(-1) ?? 0
    const instruction = program.inst[place]
    if (instruction === undefined || (longest[place] ?? 0) >= 0) {
      stack.pop()
      continue
    }
    const nexts = successors(instruction)
    if (isOpen[place] === 0) {
      isOpen[place] = 1
      const unknown = nexts.filter((next) => (longest[next] ?? 0) < 0)
      // Met again on the way to itself: a loop. One that reads nothing the engine takes out itself.
      if (unknown.some((next) => isOpen[next] === 1)) return null
      if (unknown.length > 0) {
        stack.push(...unknown)
        continue
      }
    }
    const rest = nexts.map((next) => longest[next] ?? -1)
    if (rest.some((units) => units < 0)) return null
    longest[place] = Math.max(0, ...rest) + unitsOf(instruction)
    stack.pop()
  }
  return longest[program.start] ?? null
}

function successors({ op, out, arg }: Instruction): readonly number[] {
  if (op === FAIL || op === MATCH) return []
  return op === ALT || op === ALT_MATCH ? [out, arg] : [out]
}

/** Units that one instruction reads at most. */
function unitsOf({ op, runes }: Instruction): number {
  if (op < RUNE_FIRST || op > RUNE_LAST) return 0
  if (op >= RUNE_ANY) return 2
  let highest = 0
  for (let i = 0; i < runes.length; i++) highest = Math.max(highest, runes[i] ?? 0)
  return highest > BMP_LAST ? 2 : 1
}
