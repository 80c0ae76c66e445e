/** Signs requests for AWS (Signature Version 4), with our credential. */
import { createHmac, hash } from 'node:crypto'

import { GovernorError } from '../errors.ts'

/** Who signs. */
export interface AwsKeys {
  readonly accessKeyId: string
  /** The secret access key. */
  readonly secret: string
  /** Of a temporary credential; null for others. */
  readonly sessionToken: string | null
}

/** What is signed: all of a request that AWS looks at. */
export interface Signable {
  readonly method: string
  /** As sent, without a query. */
  readonly path: string
  /** SHA-256 of the body, hex. */
  readonly bodySha256: string
  readonly wallMs: number
}

const SERVICE = 'bedrock'
const ALGORITHM = 'AWS4-HMAC-SHA256'

/** Signs for one host. The key of a day is made once, and anew with other keys. */
export class AwsSigner {
  readonly #region: string
  readonly #keys: (wallMs: number) => AwsKeys | null
  readonly #host: string
  readonly #basePath: string
  #day = ''
  #secret = ''
  #key: Buffer = Buffer.alloc(0)

  /**
   * `url` is the upstream's: its host is signed, its path goes before every other. `keys` are those to
   * sign with at a time, null while there are none.
   */
  constructor(url: string, region: string, keys: (wallMs: number) => AwsKeys | null) {
    const { host, pathname } = new URL(url)
    this.#host = host
    this.#basePath = pathname === '/' ? '' : pathname
    this.#region = region
    this.#keys = keys
  }

  /** Headers that sign a request, as flat pairs. Throws UPSTREAM_KEYS_MISSING (503). */
  sign({ method, path, bodySha256, wallMs }: Signable): string[] {
    const keys = this.#keys(wallMs)
    if (keys === null) throw new GovernorError('UPSTREAM_KEYS_MISSING')
    const { accessKeyId, secret, sessionToken } = keys
    const date = new Date(wallMs).toISOString().replace(/[-:]|\.\d{3}/g, '')
    const day = date.slice(0, 8)
    const signed: [string, string][] = [
      ['host', this.#host],
      ['x-amz-content-sha256', bodySha256],
      ['x-amz-date', date],
    ]
    if (sessionToken !== null) signed.push(['x-amz-security-token', sessionToken])
    const names = signed.map(([name]) => name).join(';')
    const lines = signed.map(([name, value]) => `${name}:${value}\n`).join('')
    const request = [method, escapedPath(this.#basePath + path), '', lines, names, bodySha256]
    const scope = `${day}/${this.#region}/${SERVICE}/aws4_request`
    const text = [ALGORITHM, date, scope, hash('sha256', request.join('\n'))].join('\n')
    const signature = hmac(this.#keyOf(day, secret), text).toString('hex')
    const credential = `Credential=${accessKeyId}/${scope}`
    const authorization = `${ALGORITHM} ${credential}, SignedHeaders=${names}, Signature=${signature}`
    return ['authorization', authorization, ...signed.slice(1).flat()]
  }

  #keyOf(day: string, secret: string): Buffer {
    if (day !== this.#day || secret !== this.#secret) {
      const parts = [this.#region, SERVICE, 'aws4_request']
      this.#key = parts.reduce(hmac, hmac(Buffer.from(`AWS4${secret}`), day))
      this.#day = day
      this.#secret = secret
    }
    return this.#key
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** Every service but S3 signs the path escaped once more than it is sent. */
function escapedPath(path: string): string {
  return encodeURIComponent(path)
    .replaceAll('%2F', '/')
    .replaceAll(/[!'()*]/g, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`)
}
