import { readFileSync } from 'node:fs'

import t from 'tap'

import {
  ADMIN_ROLES,
  exceeding,
  PERMISSIONS,
  permissionsOf,
  rolesWith,
} from '../../src/admin/roles.ts'

t.test('ADMIN_ROLES is the table in the README', async (t) => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const section = readme.slice(readme.indexOf('## Admin API'), readme.indexOf('## Audit\n'))
  const rows = [...section.matchAll(/^\| `([a-z-]+)` +\| ((?:`[a-z.]+` *)+)\|$/gm)]
  t.strictSame(
    Object.fromEntries(rows.map(([, role, may]) => [role, may!.match(/[a-z]+\.[a-z]+/g)])),
    ADMIN_ROLES,
  )
})

t.test('every permission is of some role, and none but fleet leads beyond a tenant', async (t) => {
  for (const permission of PERMISSIONS) t.ok(rolesWith(permission).length > 0, permission)
  t.strictSame(rolesWith('tenants.all'), ['fleet'])
})

t.test('permissionsOf() takes roles of the table only, whatever a role is called', async (t) => {
  t.strictSame([...permissionsOf(['developer', '__proto__', 'constructor', 'Admin', ''])], [])
  t.strictSame([...permissionsOf(['fleet', 'fleet'])], ['tenants.all'])
})

t.test('exceeding() names what a key could do that its maker cannot', async (t) => {
  const operator = permissionsOf(['operator'])
  t.equal(exceeding(['operator', 'viewer', 'developer'], operator), null)
  t.equal(exceeding(['auditor'], operator), 'calls.explain')
  t.equal(exceeding(['fleet'], permissionsOf(['admin'])), 'tenants.all')
})
