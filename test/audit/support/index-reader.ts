import { parentPort, workerData } from 'node:worker_threads'

import { type CallFilter, CallIndex } from '../../../src/audit/call-index.ts'

/** A thread that asks the index once all others are there to ask too; says how many calls it found. */

const { path, filter, waiting, readers } = workerData as {
  readonly path: string
  readonly filter: CallFilter
  readonly waiting: SharedArrayBuffer
  readonly readers: number
}

const counter = new Int32Array(waiting)
if (Atomics.add(counter, 0, 1) + 1 === readers) {
  Atomics.store(counter, 1, 1)
  Atomics.notify(counter, 1)
}
Atomics.wait(counter, 1, 0)
const index = CallIndex.open(path)
const found = index.find(filter).length
index.close()
const port = parentPort
port?.postMessage(found)
