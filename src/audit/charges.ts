import type { CallEntry } from './query.ts'

/** What a limit counted of one call, as its entries tell. */
export interface Charge {
  readonly id: string
  readonly bucket: string
  readonly what: 'requests' | 'tokens' | 'cost'
  /** 1 for `requests`; tokens; nano-USD. */
  readonly amount: number
  readonly atWallMs: number
}

type Said = Readonly<Record<'id' | 'bucket' | 'what', string>> & {
  readonly amount?: number
  readonly reserved?: number
}

/** Calls whose end is looked for; more were never open at once. */
const OPEN_MAX = 100_000

/**
 * Tells from entries, oldest first, what limits have counted: requests from decisions, tokens and cost
 * from outcomes. A call that has no outcome, since its process died, is charged what was reserved.
 */
export class Charges {
  /** Entries that are not what Governor writes. */
  damagedEntries = 0
  readonly #onCharge: (charge: Charge) => void
  /** What was reserved by calls whose outcome has not come yet. */
  readonly #open = new Map<string, readonly Charge[]>()

  constructor(onCharge: (charge: Charge) => void) {
    this.#onCharge = onCharge
  }

  read({ kind, requestId, body, occurredAtUs }: CallEntry): void {
    const charged = chargedBy(body)
    if (kind === 'outcome') {
      const isInterrupted = charged?.length === 0 && body.includes('"outcome":"interrupted"')
      if (!isInterrupted) this.#open.delete(requestId)
    }
    if (charged === null) {
      this.damagedEntries++
      return
    }
    const charges = charged
      .map((said) => chargeOf(said, Math.floor(occurredAtUs / 1000)))
      .filter((charge) => charge !== null)
    const isOpen = (charge: Charge) => kind === 'decision' && charge.what !== 'requests'
    for (const charge of charges) if (!isOpen(charge)) this.#onCharge(charge)
    const open = charges.filter(isOpen)
    const awaits = open.length > 0 && body.includes('"forward":true')
    if (awaits && this.#open.size < OPEN_MAX) this.#open.set(requestId, open)
  }

  /** Charges what is still open. */
  end(): void {
    for (const charges of this.#open.values()) for (const each of charges) this.#onCharge(each)
    this.#open.clear()
  }
}

/** Null for what no window counts. */
function chargeOf({ id, bucket, what, amount, reserved }: Said, atWallMs: number): Charge | null {
  if (what === 'requests') return { id, bucket, what, amount: 1, atWallMs }
  if (what !== 'tokens' && what !== 'cost') return null
  return { id, bucket, what, amount: amount ?? reserved ?? 0, atWallMs }
}

/** What an entry says was charged; null when it is not what Governor writes. */
function chargedBy(body: string): readonly Said[] | null {
  // Most entries were charged nothing; a JSON.parse of each would double the time of a start.
  if (!body.includes('"charged":[')) return []
  try {
    const { limits } = JSON.parse(body) as { limits?: { charged?: unknown } }
    const charged = limits?.charged ?? []
    return Array.isArray(charged) && charged.every(isSaid) ? charged : null
  } catch {
    return null
  }
}

function isSaid(value: unknown): value is Said {
  if (typeof value !== 'object' || value === null) return false
  const { id, bucket, what, amount = 0, reserved = 0 } = value as Partial<Record<string, unknown>>
  const named = typeof id === 'string' && typeof bucket === 'string' && typeof what === 'string'
  return named && isAmount(amount) && isAmount(reserved)
}

function isAmount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
