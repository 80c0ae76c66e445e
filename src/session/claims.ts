import type { Json } from '../dialect/answer-json.ts'
import { createdIn, handleId, resumedBy } from '../dialect/created.ts'
import type { Trail } from '../exchange.ts'
import type { ServerEvent } from '../nouns/socket-events.ts'
import type { Ownership } from '../stages/ownership.ts'

/** Ids of one session that were written down; all are forgotten, and written once more, beyond that. */
const KNOWN_MAX = 4096
/** Items of one session that may be named again in it; the oldest is forgotten. */
const ITEMS_MAX = 4096
/** What a provider says of an item that is now part of the conversation, and of one that is not any more. */
const ADDED: ReadonlySet<string> = new Set(['conversation.item.added', 'conversation.item.created'])
const DELETED = 'conversation.item.deleted'

/** Makes what the answers of a session name their tenant's, before the client hears of it. */
export class SessionClaims {
  readonly #ownership: Ownership
  readonly #known = new Set<string>()
  readonly #items = new Set<string>()

  constructor(ownership: Ownership) {
    this.#ownership = ownership
  }

  /** Null where none is needed, which is nearly always. */
  static of(ownership: Ownership | null): SessionClaims | null {
    return ownership === null || ownership.store === null ? null : new SessionClaims(ownership)
  }

  /** By which the session of `trail` can be gone on from: null where none is told, else when it may go on. */
  resumed(message: Json, trail: Trail): Promise<void> | null {
    const handle = resumedBy(message)
    return handle === null ? null : this.#ownership.claim(trail, [handleId(handle)], false)
  }

  /** What the provider says of the items of the conversation, which is gone with the session. */
  hear({ type }: ServerEvent, message: Json): void {
    if (type === DELETED) this.#items.delete(String(message['item_id']))
    if (!ADDED.has(type)) return
    const item = message['item'] as Json | null | undefined
    const id = item?.['id']
    if (typeof id !== 'string') return
    const [oldest] = this.#items
    if (oldest !== undefined && this.#items.size >= ITEMS_MAX) this.#items.delete(oldest)
    this.#items.add(id)
  }

  /** Whether an item of the conversation has this id: what is in it was inspected when it was said. */
  holds(id: string): boolean {
    return this.#items.has(id)
  }

  /**
   * Of one event of a response that `trail` asked for: null where it names nothing new, else when it may go
   * on. Rejects with OWNERSHIP_UNAVAILABLE, and UPSTREAM_FAILED for what is somebody else's.
   */
  event(event: ServerEvent, message: Json, trail: Trail): Promise<void> | null {
    if (event.isEcho || event.type.endsWith('.delta') || !this.#ownership.creates(trail))
      return null
    const found = createdIn(message).map(({ id }) => id)
    // Kept or not, it can be gone on from as long as the session lasts.
    if (event.begins && event.responseId !== null) found.push(event.responseId)
    const fresh = [...new Set(found)].filter((id) => !this.#known.has(id))
    if (fresh.length === 0) return null
    if (this.#known.size + fresh.length > KNOWN_MAX) this.#known.clear()
    for (const id of fresh) this.#known.add(id)
    return this.#ownership.claim(trail, fresh, false)
  }
}
