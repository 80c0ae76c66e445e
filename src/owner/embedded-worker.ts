import { parentPort, workerData } from 'node:worker_threads'

import { type OwnerResult, type OwnerWork, OwnerWriter } from './sqlite.ts'

/** The thread that waits for the disk, so that the event loop does not. */

/** One batch and what came of it, results in the order of its works. */
export type OwnerAnswer =
  | { readonly kind: 'open' }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'done'; readonly results: readonly OwnerResult[] }
  | { readonly kind: 'failed'; readonly message: string }

function answer(message: OwnerAnswer): void {
  const port = parentPort
  port?.postMessage(message)
}

function start(): void {
  let writer: OwnerWriter
  try {
    writer = new OwnerWriter((workerData as { readonly path: string }).path)
  } catch (error) {
    answer({ kind: 'refused', message: (error as Error).message })
    return
  }
  parentPort?.on('message', (works: readonly OwnerWork[] | null) => {
    if (works === null) {
      writer.close()
      parentPort?.close()
      return
    }
    try {
      answer({ kind: 'done', results: writer.run(works) })
    } catch (error) {
      answer({ kind: 'failed', message: (error as Error).message })
    }
  })
  answer({ kind: 'open' })
}

start()
