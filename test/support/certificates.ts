import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

/** Certificates for tests: X.509 v3 (RFC 5280) with P-256 keys, written out in DER. */

export interface CertificateSpec {
  /** Attributes of the subject, in order: `CN`, `O`, `OU`. */
  readonly subject: Readonly<Record<string, string>>
  readonly dns?: readonly string[]
  readonly uris?: readonly string[]
  readonly emails?: readonly string[]
  /** IPv4. */
  readonly ips?: readonly string[]
  readonly notAfter?: Date
}

/** A certificate and its private key, PEM. */
export interface Pair {
  readonly cert: string
  readonly key: string
}

const OIDS: Readonly<Record<string, string>> = { CN: '2.5.4.3', O: '2.5.4.10', OU: '2.5.4.11' }

/** An authority that signs certificates. */
export class Authority {
  readonly cert: string
  readonly #name: Buffer
  readonly #key: KeyObject

  constructor(commonName = 'Test authority') {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#key = privateKey
    this.#name = nameOf({ CN: commonName })
    const isAuthority = extension('2.5.29.19', true, der(0x30, der(0x01, Buffer.from([0xff]))))
    this.cert = this.#certificate(this.#name, publicKey, [isAuthority])
  }

  issue({ subject, notAfter, ...names }: CertificateSpec): Pair {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { dns = [], uris = [], emails = [], ips = [] } = names
    const alternatives = [
      ...emails.map((each) => der(0x81, Buffer.from(each))),
      ...dns.map((each) => der(0x82, Buffer.from(each))),
      ...uris.map((each) => der(0x86, Buffer.from(each))),
      ...ips.map((each) => der(0x87, Buffer.from(each.split('.').map(Number)))),
    ]
    const extensions =
      alternatives.length === 0 ? [] : [extension('2.5.29.17', false, der(0x30, ...alternatives))]
    return {
      cert: this.#certificate(nameOf(subject), publicKey, extensions, notAfter),
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    }
  }

  #certificate(
    subject: Buffer,
    publicKey: KeyObject,
    extensions: readonly Buffer[],
    notAfter = new Date('2049-01-01'),
  ): string {
    const algorithm = der(0x30, oid('1.2.840.10045.4.3.2'))
    const serial = randomBytes(8)
    serial[0] = 0x40
    const body = der(
      0x30,
      der(0xa0, der(0x02, Buffer.from([2]))),
      der(0x02, serial),
      algorithm,
      this.#name,
      der(0x30, time(new Date('2020-01-01')), time(notAfter)),
      subject,
      publicKey.export({ type: 'spki', format: 'der' }),
      ...(extensions.length === 0 ? [] : [der(0xa3, der(0x30, ...extensions))]),
    )
    const signature = Buffer.concat([Buffer.from([0]), sign('sha256', body, this.#key)])
    return pem(der(0x30, body, algorithm, der(0x03, signature)))
  }
}

function nameOf(attributes: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(attributes).map(([name, value]) =>
    der(0x31, der(0x30, oid(OIDS[name]!), der(0x0c, Buffer.from(value)))),
  )
  return der(0x30, ...parts)
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  const critical = isCritical ? [der(0x01, Buffer.from([0xff]))] : []
  return der(0x30, oid(id), ...critical, der(0x04, value))
}

/** UTCTime. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, '')
  return der(0x17, Buffer.from(digits.slice(2)))
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const part of rest) {
    const septets = [part & 0x7f]
    for (let left = part >>> 7; left > 0; left >>>= 7) septets.unshift((left & 0x7f) | 0x80)
    bytes.push(...septets)
  }
  return der(0x06, Buffer.from(bytes))
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

function pem(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g)!
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
