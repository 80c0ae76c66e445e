import type { Detector, Match } from './detector.ts'

/** Clues count together within this many units. */
const WINDOW = 400
/** What the clues of a window must add up to. */
const SCORE_MIN = 1
/** Units a clue may reach beyond the word that announces it. */
const CLUE_MAX = 160

interface Clue {
  /** Folded words of which one announces the clue. */
  readonly at: readonly string[]
  /** Sticky, from the start of that word; every quantifier is bounded. */
  readonly pattern: RegExp
  readonly score: number
}

const GAP = String.raw`[\s"'“”‘’*_,.:;-]{1,6}`
const FILL = String.raw`(?:[\p{L}\p{N}'’]{1,14}${GAP}){0,5}?`
const RULES = String.raw`(?:instruct\w{0,6}|rules?|prompts?|guidelines?|directions?|directives?|commands?|orders|constraints?|restrictions?|polic(?:y|ies)|context|training|programming|safety|filters?|guardrails?|safeguards?|conversation|messages?|text|anweisungen|regeln|vorgaben|consignes|règles|instrucciones|reglas|istruzioni|regole|instruções|regras)`
const BEFORE_STRONG = String.raw`previous|prior|above|earlier|preceding|foregoing|existing|current|initial|original|system|vorherigen|bisherigen|alle|toutes|todas|tutte`

const clue = (score: number, at: readonly string[], pattern: string): Clue => ({
  at,
  pattern: new RegExp(pattern, 'iuy'),
  score,
})

/** Scores are what each is worth alone: 1 decides, less needs company nearby. */
const CLUES: readonly Clue[] = [
  clue(
    1,
    [
      'ignor',
      'disregard',
      'forget',
      'override',
      'bypass',
      'neglect',
      'vergiss',
      'oublie',
      'olvida',
      'esquece',
      'dimentica',
      'missachte',
    ],
    String.raw`[\p{L}]{3,14}${GAP}${FILL}(?:previous|prior|above|earlier|preceding|foregoing|system|your|vorherigen|bisherigen|obigen|précédentes|anteriores|previas|precedenti)${GAP}${FILL}${RULES}(?![\p{L}])`,
  ),
  clue(
    1,
    ['ignor', 'disregard', 'forget', 'override', 'bypass', 'vergiss', 'oublie', 'olvida'],
    String.raw`[\p{L}]{3,14}${GAP}(?:\p{L}{1,10}${GAP}){0,3}?(?:everything|anything|all|what|alles|tout|todo)${GAP}(?:\p{L}{1,10}${GAP}){0,5}?(?:above|(?:you|i)${GAP}(?:\p{L}{1,5}${GAP}){0,2}?(?:told|said|instructed|learned|know)|zuvor|bisher|avant|antes)(?![\p{L}])`,
  ),
  clue(
    0.6,
    [
      'ignor',
      'disregard',
      'forget',
      'override',
      'bypass',
      'circumvent',
      'do not follow',
      "don't follow",
      'stop following',
    ],
    String.raw`[\p{L}' ]{3,16}?${GAP}(?:of${GAP})?(?:(?:all|any|every|your|these|those|${BEFORE_STRONG})${GAP}(?:the${GAP}|of${GAP}|my${GAP}){0,2}){1,3}(?:\p{L}{1,12}${GAP}){0,2}?${RULES}(?![\p{L}])`,
  ),
  clue(
    1,
    [
      'reveal',
      'print',
      'show',
      'repeat',
      'output',
      'display',
      'leak',
      'disclose',
      'tell me',
      'give me',
      'what is',
      'what are',
      "what's",
      'dump',
      'expose',
      'recite',
      'copy',
    ],
    String.raw`\p{L}{4,8}(?:['’]s)?(?:${GAP}(?:me|us|is|are|was))?${GAP}(?:\p{L}{1,12}${GAP}){0,4}?(?:(?:your|hidden|secret|initial|original|entire|full|confidential)${GAP}){1,3}(?:\p{L}{1,12}${GAP}){0,2}?(?:system${GAP}(?:prompt|message|instructions?)|prompt|instructions|guidelines|rules|developer${GAP}message)(?![\p{L}])`,
  ),
  clue(
    1,
    ['repeat', 'print', 'output', 'recite'],
    String.raw`\p{L}{4,8}${GAP}(?:\p{L}{1,12}${GAP}){0,3}?(?:the${GAP})?(?:words|text|everything|content|lines)${GAP}(?:\p{L}{1,12}${GAP}){0,2}?above`,
  ),
  clue(
    1,
    [
      'you are now',
      "you're now",
      'you are no longer',
      'act as',
      'pretend',
      'roleplay as',
      'behave as',
      'from now on',
    ],
    String.raw`\p{L}{3,8}(?:['’]re)?${GAP}${FILL}(?:dan|stan|jailbro\p{L}{1,6}|unrestricted|unfiltered|uncensored|amoral|unethical|evil|developer${GAP}mode|god${GAP}mode|sudo${GAP}mode|no${GAP}(?:longer${GAP}bound|restrictions|limits|limitations|rules|filters?|guidelines)|without${GAP}(?:any${GAP})?(?:restrictions|limits|limitations|rules|filters?|guidelines))(?![\p{L}])`,
  ),
  clue(1, ['do anything now'], String.raw`do anything now`),
  clue(
    0.6,
    ['jailbreak'],
    String.raw`jailbreak(?:en|ing|ed)?${GAP}(?:mode|prompt|yourself|you|the${GAP}(?:ai|model))`,
  ),
  clue(
    0.6,
    [
      'developer mode',
      'god mode',
      'dan mode',
      'debug mode',
      'admin mode',
      'maintenance mode',
      'sudo mode',
    ],
    String.raw`\p{L}{3,12} mode${GAP}(?:is${GAP})?(?:now${GAP})?(?:enabled|activated|active|on|engaged|unlocked)`,
  ),
  clue(
    0.6,
    ['enable', 'enter', 'activate', 'switch'],
    String.raw`\p{L}{5,9}${GAP}(?:\p{L}{1,8}${GAP}){0,2}?(?:developer|dan|god|jailbreak|unrestricted|sudo)${GAP}mode`,
  ),
  clue(
    1,
    ['<|im_start|>', '<|system|>', '<|start_header_id|>', '<|endoftext|>', '<|im_end|>'],
    String.raw`<\|(?:im_start\|>\s?(?:system|developer)|system\|>|start_header_id\|>\s?system|endoftext\|>[\s\S]{0,20}system|im_end\|>[\s\S]{0,8}<\|im_start)`,
  ),
  clue(
    0.7,
    [
      '[system]',
      '[/inst]',
      '<<sys>>',
      '</system>',
      '### system',
      '### new instr',
      '[admin]',
      '</user>',
      '</context>',
      '</document>',
    ],
    String.raw`[\s\S]{5,14}[\s:\]>*#-]{0,6}(?:\p{L}{1,12}${GAP}){0,6}?(?:you|ignore|instructions?|now|must|new|override|system)(?![\p{L}])`,
  ),
  clue(
    0.6,
    [
      'new instructions',
      'new instruction',
      'updated instructions',
      'real instructions',
      'actual instructions',
      'new task',
      'new rules',
      'neue anweisung',
    ],
    String.raw`\p{L}{3,8}\s\p{L}{4,14}(?:\s\p{L}{1,8}){0,3}?\s?[:!]`,
  ),
  clue(
    0.6,
    [
      'your true',
      'your real',
      'your new',
      'your hidden',
      'you must obey',
      'you will obey',
      'you have been',
      'you are free',
    ],
    String.raw`you(?:r)?${GAP}${FILL}(?:obey|freed|free|hacked|compromised|reprogrammed|unlocked|overridden|(?:purpose|goal|master|owner|task|persona|role|identity)${GAP}is)(?![\p{L}])`,
  ),
  clue(
    0.5,
    [
      'without any',
      'no restrictions',
      'no ethical',
      'no moral',
      'no filter',
      'no limits',
      'regardless of',
      'safety guidelines',
      'content policy',
      'ethical guidelines',
      'never refuse',
      'cannot refuse',
      'must not refuse',
    ],
    String.raw`(?:without any${GAP}(?:\p{L}{1,12}${GAP}){0,2}?(?:restriction|limit|filter|censor|ethic|moral|warning|disclaimer)|no (?:restrictions|ethical|moral|filter|limits)|regardless of (?:\p{L}{1,12}${GAP}){0,4}?(?:rules|polic|guideline|ethic|legal)|(?:safety|ethical) guidelines${GAP}(?:do not|don['’]t|no longer|are)|content policy${GAP}(?:does|do|no|is)|(?:never|cannot|must not) refuse)`,
  ),
  clue(
    0.5,
    [
      'do not tell',
      "don't tell",
      'do not mention',
      'do not reveal',
      'without telling',
      'do not inform',
      'secretly',
      'silently',
    ],
    String.raw`(?:do not|don['’]t|without|secretly|silently)${GAP}${FILL}(?:user|anyone|human|operator|developer|instructions?|message|send|forward|email|exfiltrate)(?![\p{L}])`,
  ),
  clue(
    0.6,
    ['send ', 'forward ', 'exfiltrate', 'upload', 'post '],
    String.raw`\p{L}{4,10}${GAP}${FILL}(?:conversation|chat${GAP}history|api${GAP}keys?|credentials|passwords?|secrets|system${GAP}prompt|user${GAP}data|environment${GAP}variables)${GAP}${FILL}(?:to|via|at)\s{1,3}(?:https?:|\S{1,40}@|this${GAP}url|an?${GAP}external)`,
  ),
]

const LITERALS: ReadonlyMap<string, readonly Clue[]> = clueIndex()

function clueIndex(): ReadonlyMap<string, readonly Clue[]> {
  const index = new Map<string, Clue[]>()
  for (const each of CLUES) {
    for (const literal of each.at) index.set(literal, [...(index.get(literal) ?? []), each])
  }
  return index
}

/**
 * Text that speaks to the model over the heads of its operators: orders to drop instructions, to show
 * the system prompt, to take a role without rules, forged turn marks. Heuristics: clues with scores
 * that must add up to 1 within 400 characters. It knows the usual phrases in English and some in five
 * other languages; it does not understand. A paraphrase, another language or an encoding passes, and a
 * text *about* injections is found. Treat it as a tripwire, start it in shadow, and do not let
 * anything else depend on it.
 */
export const promptInjection: Detector = {
  id: 'prompt_injection',
  charsMax: WINDOW + CLUE_MAX,
  literals: [...LITERALS.keys()],
  atLiteral(text, start, literal) {
    const clues = LITERALS.get(literal)
    if (clues === undefined || /[\p{L}\p{N}]/u.test(text.charAt(start - 1))) return null
    const best = bestClue(text, start, clues)
    return best === null ? null : { start: best.start, end: best.end, score: best.score }
  },
  join: joinClues,
}

interface Scored extends Match {
  readonly score: number
}

function bestClue(text: string, start: number, clues: readonly Clue[]): Scored | null {
  let best: Scored | null = null
  const within = text.slice(start, start + CLUE_MAX)
  for (const { pattern, score } of clues) {
    if (best !== null && best.score >= score) continue
    pattern.lastIndex = 0
    const found = pattern.exec(within)
    if (found !== null) best = { start, end: start + found[0].length, score }
  }
  return best
}

/** Windows whose different clues add up; a phrase that is repeated counts once a place. */
function joinClues(clues: readonly Match[]): Match[] {
  const matches: Match[] = []
  for (let from = 0; from < clues.length;) {
    const first = clues[from]
    let sum = 0
    let to = from
    let end = 0
    for (; to < clues.length && sum < SCORE_MIN; to++) {
      const next = clues[to]
      if (first === undefined || next === undefined || next.end - first.start > WINDOW) break
      if (next.start < end) continue
      sum += next.score ?? 0
      end = next.end
    }
    if (first !== undefined && sum >= SCORE_MIN) {
      matches.push({ start: first.start, end })
      from = to
    } else from++
  }
  return matches
}
