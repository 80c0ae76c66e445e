/** Thrown for an answer that is not what the service's format says; `message` holds nothing of it. */
export class NotAnAnswer extends Error {
  override readonly name = 'NotAnAnswer'
}

/** The object behind `value`. Throws NotAnAnswer. */
export function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>
  }
  throw new NotAnAnswer('an object is missing')
}

/** The list behind `value`. Throws NotAnAnswer. */
export function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value as readonly unknown[]
  throw new NotAnAnswer('a list is missing')
}

/** The number behind `value`. Throws NotAnAnswer. */
export function numberOf(value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw new NotAnAnswer('a number is missing')
}
