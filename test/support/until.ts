/** Far longer than anything takes: a machine that is slow is not a promise that is broken. */
const WITHIN_MS = 60_000

/** Looks at `condition` until it yields something true, and gives that back; an error after `withinMs`. */
export async function until<Value>(
  what: string,
  condition: () => Value | Promise<Value>,
  withinMs = WITHIN_MS,
): Promise<NonNullable<Value>> {
  const deadlineMs = performance.now() + withinMs
  for (;;) {
    const value = await condition()
    if (value) return value
    if (performance.now() > deadlineMs) throw new Error(`Waited ${withinMs} ms for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** The value of a promise, or an error when it takes longer than `withinMs`. */
export async function within<Value>(
  what: string,
  promise: Promise<Value>,
  withinMs = WITHIN_MS,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${withinMs} ms for ${what}`)), withinMs)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
