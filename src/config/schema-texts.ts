import { DETECTORS } from '../exchange.ts'
import { expression, integer, list, map, names, optional, size, text } from './spec.ts'

/** What policies look for in texts. */

/** The most `input.matches` patterns one file may hold: measured, 500 warm up in about 0.2 s. */
export const PATTERNS_MAX = 500
/** The longest `input.matches` pattern, characters. */
export const PATTERN_CHARS_MAX = 1000
/** The most that `output.matches` may need of a stream at once. */
export const WINDOW_MAX = '64KiB'
/** What can be looked for in a text. */
export const searchFields = {
  matches: optional(
    expression('a pattern', PATTERN_CHARS_MAX),
    `An RE2 pattern (no look-around, no back-references), at most ${PATTERN_CHARS_MAX} characters; at most ${PATTERNS_MAX} in a file. Where it is to refuse, \`.\` takes line ends, too.`,
  ),
  words: optional(
    list(text('a word', undefined, 128), { min: 1, max: 1000 }),
    'Whole words, compared case-insensitively; a space stands for any white space, line ends too. In scripts without spaces (Chinese, Japanese, Thai, …) wherever they stand.',
  ),
  detect: optional(
    names('detectors', 32),
    `One of these was found: ${DETECTORS.join(' ')}, or one of \`detectors\`.`,
  ),
}

/** And in an answer, which may come piece by piece. */
export const answerFields = {
  ...searchFields,
  window: optional(
    size('16B', WINDOW_MAX),
    'For a pattern (of `matches` or of a detector of your own) that has no longest match: for how many characters of it a stream is held back, like `2KiB`. A stream with a longer match is cut.',
  ),
}

/** What an answer holds. */
export const output = map('output', {
  ...answerFields,
  max_chars: optional(
    integer(1, 1_000_000_000),
    'The most characters a model may say, counted as in `input`; `deny` and `require` both refuse a longer answer.',
  ),
  max_tokens: optional(
    integer(1, 1_000_000_000),
    'The most tokens a model may say, by the estimate that limits reserve by; `deny` and `require` both refuse a longer answer.',
  ),
})
