import { type Env, isNearAws, isSafe, said } from './resolve-aws-chain.ts'
import type { AzureChain } from './snapshot-upstreams.ts'

/** The ways of `azure.credentials`; `chain` takes the first that the environment knows. */
export const AZURE_WAYS = [
  'chain',
  'client_secret',
  'workload_identity',
  'managed_identity',
] as const
export type AzureWay = (typeof AZURE_WAYS)[number]

type Found = AzureChain | { readonly wrong: string }

const AUTHORITY = 'https://login.microsoftonline.com'
const INSTANCE = 'http://169.254.169.254'
/** A tenant's or a client's id, or a tenant's domain. */
const ID = /^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$/

/**
 * Where tokens of Entra ID are, in the order of the Azure SDKs and by their variables: a client with a
 * secret, a workload identity (AKS), the managed identity of App Service or Container Apps, or of the
 * instance. Says what is wrong without saying any value.
 */
export function findAzure(way: AzureWay, env: Env): Found {
  if (way === 'client_secret') return clientSecret(env) ?? missing('AZURE_CLIENT_SECRET')
  if (way === 'workload_identity') {
    return workloadIdentity(env) ?? missing('AZURE_FEDERATED_TOKEN_FILE')
  }
  if (way === 'managed_identity') return managedIdentity(env)
  return clientSecret(env) ?? workloadIdentity(env) ?? managedIdentity(env)
}

function missing(name: string): Found {
  return { wrong: `Found no client: set AZURE_TENANT_ID, AZURE_CLIENT_ID and ${name}` }
}

function clientSecret(env: Env): Found | null {
  const secret = said(env, 'AZURE_CLIENT_SECRET')
  const client = secret === null ? null : clientOf(env)
  if (secret === null || client === null) return null
  if ('wrong' in client) return client
  return { kind: 'client_secret', ...client, clientSecret: secret }
}

function workloadIdentity(env: Env): Found | null {
  const tokenFile = said(env, 'AZURE_FEDERATED_TOKEN_FILE')
  const client = tokenFile === null ? null : clientOf(env)
  if (tokenFile === null || client === null) return null
  if ('wrong' in client) return client
  return { kind: 'workload_identity', ...client, tokenFile }
}

/** Null without a tenant or client. */
function clientOf(env: Env): { url: string; clientId: string } | { wrong: string } | null {
  const tenant = said(env, 'AZURE_TENANT_ID')
  const clientId = said(env, 'AZURE_CLIENT_ID')
  if (tenant === null || clientId === null) return null
  if (!ID.test(tenant)) return { wrong: 'AZURE_TENANT_ID is neither an id nor a domain' }
  const authority = said(env, 'AZURE_AUTHORITY_HOST') ?? AUTHORITY
  if (!isSafe(authority)) return { wrong: 'AZURE_AUTHORITY_HOST is not an https: URL' }
  return { url: `${authority.replace(/\/+$/, '')}/${tenant}/oauth2/v2.0/token`, clientId }
}

function managedIdentity(env: Env): Found {
  const clientId = said(env, 'AZURE_CLIENT_ID')
  const endpoint = said(env, 'IDENTITY_ENDPOINT')
  const header = said(env, 'IDENTITY_HEADER')
  if (endpoint !== null && header !== null) {
    const wrong = 'IDENTITY_ENDPOINT is neither an https: URL nor one of this host'
    return isSafe(endpoint, isNearAzure)
      ? { kind: 'app_service', url: endpoint, header, clientId }
      : { wrong }
  }
  const host = said(env, 'AZURE_POD_IDENTITY_AUTHORITY_HOST') ?? INSTANCE
  if (!isSafe(host, isNearAzure)) {
    return { wrong: 'AZURE_POD_IDENTITY_AUTHORITY_HOST is neither an https: URL nor of this host' }
  }
  return {
    kind: 'instance',
    url: `${host.replace(/\/+$/, '')}/metadata/identity/oauth2/token`,
    clientId,
  }
}

/** App Service has the service of its identity on link-local addresses, too. */
function isNearAzure(hostname: string): boolean {
  return isNearAws(hostname) || /^169\.254\.\d+\.\d+$/.test(hostname)
}
