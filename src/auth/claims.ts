import { hash } from 'node:crypto'

import type { IssuerConfig } from '../config/snapshot.ts'
import type { Principal } from '../exchange.ts'

/** The claims of a token whose signature holds. */
export type Claims = Readonly<Record<string, unknown>>

/** What a token lacks; the message completes a sentence for its bearer. */
export class ClaimFault extends Error {
  override readonly name = 'ClaimFault'
}

/** Tokens with hundreds of groups have 8 KiB; the headers of a request end at 16. */
export const TOKEN_CHARS_MAX = 12_288

const NAME_CHARS_MAX = 256
const ROLES_MAX = 256

/**
 * Who the bearer is, by the configuration of the issuer; `ip` is filled in by the caller. One issuer and
 * subject is one key to limits, whatever token is shown. Throws ClaimFault.
 */
export function principalOf(
  claims: Claims,
  { name, issuer, claims: map }: IssuerConfig,
): Principal {
  const { tenant, user, roles, labels } = map
  const userName = textOf(claims, user)
  const subject = typeof claims['sub'] === 'string' ? claims['sub'] : userName
  const own = Object.entries(labels.claims).flatMap(([label, claim]): [string, string][] => {
    const value = labelOf(find(claims, claim))
    return value === null ? [] : [[label, value]]
  })
  return {
    via: 'jwt',
    tenant: 'fixed' in tenant ? tenant.fixed : textOf(claims, tenant.claim),
    keyId: `jwt:${hash('sha256', JSON.stringify([issuer, subject])).slice(0, 32)}`,
    keyName: name,
    user: userName,
    roles: [...new Set([...roles.fixed, ...rolesOf(claims, roles.claim)])],
    labels: { ...labels.fixed, ...Object.fromEntries(own) },
    ip: '',
  }
}

function textOf(claims: Claims, claim: string): string {
  const value = find(claims, claim)
  if (typeof value !== 'string') throw new ClaimFault(`it has no claim "${claim}" that is a text`)
  if (!isName(value)) throw new ClaimFault(`its claim "${claim}" is no name`)
  return value
}

function rolesOf(claims: Claims, claim: string | null): readonly string[] {
  const value = claim === null ? undefined : find(claims, claim)
  if (value === undefined || value === null) return []
  const listed: unknown = typeof value === 'string' ? value.split(' ').filter(Boolean) : value
  const roles: string[] = []
  for (const role of Array.isArray(listed) ? listed : [listed]) {
    if (typeof role !== 'string' || !isName(role)) {
      throw new ClaimFault(`its claim "${claim}" holds what is no name of a role`)
    }
    roles.push(role)
  }
  if (roles.length <= ROLES_MAX) return roles
  throw new ClaimFault(`its claim "${claim}" names more than ${ROLES_MAX} roles`)
}

/** A label that is not there is not there: policies that ask for it do not match. */
function labelOf(value: unknown): string | null {
  if (typeof value === 'boolean' || typeof value === 'number') return String(value)
  return typeof value === 'string' && isName(value) ? value : null
}

/** No control characters, and no halves of characters: stores of text take neither. */
function isName(value: string): boolean {
  return value.length <= NAME_CHARS_MAX && /\S/u.test(value) && !/[\p{Cc}\p{Cs}]/u.test(value)
}

/** A claim by its name, or by a JSON pointer (RFC 6901) where that starts with `/`. */
function find(claims: Claims, claim: string): unknown {
  if (!claim.startsWith('/')) return member(claims, claim)
  let value: unknown = claims
  for (const part of claim.slice(1).split('/')) {
    value = member(value, part.replaceAll('~1', '/').replaceAll('~0', '~'))
  }
  return value
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Claims)[name]
}
