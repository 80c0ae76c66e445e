import { readFileSync, writeFileSync } from 'node:fs'

import { endpointsMarkdown } from './coverage.ts'

// Run by hand after a change to a table in src/dialect, then read the difference:
//   node_modules/.bin/node test/dialect/endpoints.ts --write && node_modules/.bin/oxfmt config
// Without the word it does nothing, so that running a folder of tests cannot hide a difference.

/** The printed table. */
export const ENDPOINTS = new URL('../../config/endpoints.md', import.meta.url)
const BEGIN = '<!-- generated from the tables in src/dialect: do not edit below -->\n'

/** The file as it should be: what stands before the mark, then the tables. */
export function endpointsFile(): string {
  const [before = ''] = readFileSync(ENDPOINTS, 'utf8').split(BEGIN)
  return `${before}${BEGIN}\n${endpointsMarkdown()}`
}

if (process.argv.includes('--write')) writeFileSync(ENDPOINTS, endpointsFile())
