import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Test } from 'tap'

/** A disk of `size`, as tmpfs takes it; null without the right to mount one. */
export function smallDisk(t: Test, size = '4m'): string | null {
  const directory = mkdtempSync(join(tmpdir(), 'governor-full-'))
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', directory])
  t.teardown(() => {
    if (status === 0) spawnSync('umount', ['-l', directory])
    rmSync(directory, { recursive: true, force: true })
  })
  return status === 0 ? directory : null
}

/** Whether what is on a disk of `smallDisk` can be changed from now on. */
export function setWritable(directory: string, isWritable: boolean): void {
  const { status } = spawnSync('mount', ['-o', `remount,${isWritable ? 'rw' : 'ro'}`, directory])
  if (status !== 0) throw new Error(`${directory} cannot be mounted again`)
}

/** Writes zeros until there is no room left, or `bytesMax` of them. */
export function fill(path: string, bytesMax = Number.POSITIVE_INFINITY): void {
  const file = openSync(path, 'w')
  try {
    let written = 0
    for (const size of [65_536, 4096, 512]) {
      try {
        while (written + size <= bytesMax) written += writeSync(file, Buffer.alloc(size))
      } catch {
        // This size no longer fits.
      }
    }
  } finally {
    closeSync(file)
  }
}
