import { DetectorSet, type Detection } from '../../../src/policy/detect/detector-set.ts'
import { REGISTRY } from '../../../src/policy/detect/registry.ts'

/** A set of these detectors, or of all. */
export function setOf(ids: readonly string[] = [...REGISTRY.keys()]): DetectorSet {
  return new DetectorSet(
    ids.map((id) => REGISTRY.get(id) as NonNullable<ReturnType<typeof REGISTRY.get>>),
  )
}

/** Everything a set finds in a text. */
export function findIn(set: DetectorSet, text: string): readonly Detection[] {
  const found: Detection[] = []
  const steps = set.find(text, (each) => found.push(each))
  while (steps.next().done !== true);
  return found
}

/** CPU time of this thread that `task` takes, milliseconds; other processes do not count. */
export function cpuMs(task: () => void): number {
  const before = process.threadCpuUsage()
  task()
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / 1000
}
