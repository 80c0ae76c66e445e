import type { GovernorError } from '../errors.ts'
import type { Trail } from '../exchange.ts'
import type { Guard } from '../http/relay.ts'
import { AnswerInspector } from '../policy/answer-inspector.ts'
import { AnswerPlaceholders } from '../policy/placeholders.ts'
import { RestoreInspector } from '../policy/restore.ts'
import type { World } from '../world.ts'
import { AnswerGuard } from './guard.ts'
import { LinesGuard } from './lines-guard.ts'

/**
 * What looks at the answer of a call, told to its outcome too, and what puts values back into it;
 * nothing where no policy does.
 */
export function answerGuard(
  world: World,
  trail: Trail,
): { readonly guard: Guard | null; readonly answerBytesMax: number } {
  const policies = policyGuard(world, trail)
  const values = restorable(trail)
  const restores = values === null ? null : restoreGuard(world, trail, values)
  const guard =
    policies === null || restores === null
      ? (policies ?? restores)
      : new GuardPair(policies, restores)
  return { guard, answerBytesMax: world.snapshot.maximums.bodyBytes }
}

/** Endpoints that answer with a file of what models said, line by line. */
const LINES: ReadonlySet<string> = new Set(['files.content', 'messages.batches.results'])

function policyGuard({ policies, snapshot }: World, trail: Trail): Guard | null {
  const { route, decision } = trail
  const { defaults, maximums } = snapshot
  const ids = decision?.answers
  const rules = policies.output
  if (ids === undefined || rules === null) return null
  const masked = new AnswerPlaceholders(decision?.changes?.masked)
  const inspector = new AnswerInspector(rules, ids, masked)
  const guard = new AnswerGuard({
    inspector,
    reader: route!.dialect.answers,
    api: route!.endpoint.api,
    jsonDepth: maximums.jsonDepth,
    uninspectable: defaults.uninspectable,
  })
  trail.answer = guard
  return LINES.has(route!.endpoint.api) ? new LinesGuard(guard) : guard
}

function restorable({ decision }: Trail): ReadonlyMap<string, string> | null {
  const changes = decision?.changes
  return changes?.restores === true ? (changes.masked ?? null) : null
}

function restoreGuard(
  { snapshot }: World,
  trail: Trail,
  values: ReadonlyMap<string, string>,
): AnswerGuard {
  const { route } = trail
  return new AnswerGuard({
    inspector: new RestoreInspector(values),
    reader: route!.dialect.answers,
    api: route!.endpoint.api,
    jsonDepth: snapshot.maximums.jsonDepth,
    uninspectable: 'allow',
    isLenient: true,
  })
}

/** Policies see an answer with its placeholders; what they let pass gets its values. */
class GuardPair implements Guard {
  readonly #first: Guard
  readonly #second: Guard

  constructor(first: Guard, second: Guard) {
    this.#first = first
    this.#second = second
  }

  get failure(): GovernorError | null {
    return this.#first.failure ?? this.#second.failure
  }

  async whole(body: Buffer, contentType: string): Promise<Buffer> {
    return this.#second.whole(await this.#first.whole(body, contentType), contentType)
  }

  chunk(bytes: Buffer): Buffer {
    return this.#second.chunk(this.#first.chunk(bytes))
  }

  flush(): Buffer {
    return Buffer.concat([this.#second.chunk(this.#first.flush()), this.#second.flush()])
  }
}
