/** Headers of a flat list of names and values; of a name that is there twice, the last value. */
export function headersOfPairs(flat: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (let index = 0; index + 1 < flat.length; index += 2) headers[flat[index]!] = flat[index + 1]!
  return headers
}
