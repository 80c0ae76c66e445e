import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { argv, stdout } from 'node:process'

import type { CallLoad, CallResult } from './call-load.ts'
import type { Child } from './child.ts'
import { profileText, summariseProfile } from './cpu-profile.ts'
import {
  removeDirectory,
  startBare,
  startGovernor,
  startLoad,
  startUpstream,
  workDirectory,
} from './targets.ts'
import { CALL_BODY, callHeaders, PATH } from './work.ts'

/**
 * `node bench/profile.ts [connections] [calls] [bare | redis://…]`: where the time goes, by function, in
 * the main thread and in the audit thread, with limits counted in memory or in that Redis; with `bare`,
 * in the bare forwarder.
 */

const connections = Number(argv[2] ?? 32)
const calls = Number(argv[3] ?? 40_000)
const LINES = 40
/** Until here the profile shows start-up and compilation. */
const WARM_UP_MS = 3000

const directory = workDirectory()
const children: Child[] = []
const flags = ['--cpu-prof', `--cpu-prof-dir=${directory}`, '--cpu-prof-interval=200']
try {
  const upstream = await startUpstream()
  const load = await startLoad('call')
  children.push(load, upstream)
  const { child, key } =
    argv[4] === 'bare'
      ? { child: await startBare('forwarder', upstream, flags), key: 'none' }
      : await startGovernor(upstream, directory, {
          nodeFlags: flags,
          limitStore: argv[4] ?? 'memory',
        })
  children.unshift(child)
  const work = { url: child.url + PATH, headers: callHeaders(key), body: CALL_BODY }
  const first: CallLoad = { ...work, connections: 1, calls: 10 }
  await load.ask('calls', first)
  const { callsPerSecond } = await load.ask<CallResult>('calls', { ...work, connections, calls })
  stdout.write(`${calls} calls at c=${connections}, ${callsPerSecond.toFixed(0)}/s profiled\n`)
} finally {
  for (const child of children) await child.stop()
}
const profiles = readdirSync(directory).filter((name) => name.endsWith('.cpuprofile'))
for (const name of profiles.sort()) {
  const path = join(directory, name)
  stdout.write(`\n${name} (${statSync(path).size} bytes)\n`)
  stdout.write(profileText(summariseProfile(path, WARM_UP_MS), LINES, calls))
}
removeDirectory(directory)
