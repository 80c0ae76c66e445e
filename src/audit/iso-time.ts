/** What is the same for all times of one second, and which one that is. */
let latest = { second: NaN, text: '' }

/**
 * RFC 3339 text of a time in whole milliseconds since 1970, as `toISOString` gives it, which costs 1 µs
 * and is asked for twice a call; of one second only the last digits differ. Throws a RangeError as it does.
 */
export function isoTime(timeMs: number): string {
  const second = Math.floor(timeMs / 1000)
  if (second !== latest.second) {
    latest = { second, text: new Date(second * 1000).toISOString().slice(0, -'000Z'.length) }
  }
  const restMs = timeMs - second * 1000
  if (restMs < 10) return `${latest.text}00${restMs}Z`
  return restMs < 100 ? `${latest.text}0${restMs}Z` : `${latest.text}${restMs}Z`
}
