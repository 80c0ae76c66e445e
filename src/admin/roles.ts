/**
 * Who may do what by the admin API: one table of roles over permissions. A role of a key that is not
 * listed here means nothing to it, and a key without any of these is refused everywhere.
 */

/** What the admin API lets somebody do; `tenants.all`: to tenants other than its own, too. */
export const PERMISSIONS = [
  'keys.read',
  'keys.create',
  'keys.rotate',
  'keys.revoke',
  'limits.read',
  'policies.read',
  'calls.explain',
  'audit.read',
  'config.reload',
  'tenants.all',
] as const
export type Permission = (typeof PERMISSIONS)[number]

const SEEN: readonly Permission[] = ['keys.read', 'limits.read', 'policies.read']
const INVESTIGATED: readonly Permission[] = ['calls.explain', 'audit.read']
const KEYS: readonly Permission[] = ['keys.create', 'keys.rotate', 'keys.revoke']

/** README's table of roles is tested against this one. `fleet` says of what, never what. */
export const ADMIN_ROLES: Readonly<Record<string, readonly Permission[]>> = {
  viewer: SEEN,
  auditor: [...SEEN, ...INVESTIGATED],
  operator: [...SEEN, ...KEYS],
  'policy-admin': ['limits.read', 'policies.read', ...INVESTIGATED, 'config.reload'],
  admin: [...SEEN, ...INVESTIGATED, ...KEYS, 'config.reload'],
  fleet: ['tenants.all'],
}

/** Everything these roles allow together. */
export function permissionsOf(roles: readonly string[]): ReadonlySet<Permission> {
  const found = new Set<Permission>()
  for (const role of roles) {
    if (!Object.hasOwn(ADMIN_ROLES, role)) continue
    for (const permission of ADMIN_ROLES[role]!) found.add(permission)
  }
  return found
}

/** The roles that bring a permission, for the refusal of one who lacks it. */
export function rolesWith(permission: Permission): string[] {
  return Object.keys(ADMIN_ROLES).filter((role) => ADMIN_ROLES[role]!.includes(permission))
}

/**
 * The first permission that `roles` would bring and `own` has not; null when there is none. Whoever
 * makes a key, or gets the secret of one, must not be able to do more with it than before.
 */
export function exceeding(
  roles: readonly string[],
  own: ReadonlySet<Permission>,
): Permission | null {
  for (const permission of permissionsOf(roles)) if (!own.has(permission)) return permission
  return null
}
