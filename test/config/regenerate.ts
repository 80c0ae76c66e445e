import { writeFileSync } from 'node:fs'

import { caseUrl, outcome, readCases } from './cases.ts'
import { generated } from './generated.ts'

// Run by hand after a change to src/config/schema.ts or to a message, then read the difference:
//   node_modules/.bin/node test/config/regenerate.ts --write && node_modules/.bin/oxfmt config
// Without the word it does nothing, so that running a folder of tests cannot hide a difference.
if (process.argv.includes('--write')) {
  for (const { url, content } of generated()) writeFileSync(url, content)
  for (const { name, yaml } of readCases()) {
    writeFileSync(caseUrl(name), `${yaml}----------\n${outcome(yaml)}`)
  }
}
