/** A number with its noun: `1 chain`, `2 chains`. */
export function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`
}

/** What a command did with a part of a log: `2 entries of 1 chain`. */
export function entriesOf(entries: number, chains: number): string {
  return `${counted(entries, 'entry', 'entries')} of ${counted(chains, 'chain', 'chains')}`
}
