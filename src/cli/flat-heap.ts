import { setFlagsFromString } from 'node:v8'

/**
 * For a command that walks a whole log once: what it makes of a row is garbage with the next one. V8
 * doubles the space for new objects again and again, since of many rows some always survive: of 300,000
 * entries an export took 147 instead of 115 MiB, of more it takes more, and is no faster.
 */
export function keepHeapFlat(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
}
