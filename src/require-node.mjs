import { setFlagsFromString } from 'node:v8'

// Runs before any TypeScript is loaded (`node --import`): an older Node would only say
// ERR_UNKNOWN_FILE_EXTENSION. `npm ci` brings Node 24 on Linux; elsewhere the host must have it.
const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  process.stderr.write(
    `Governor needs Node 24 or newer, this is ${process.versions.node} (${process.execPath}).\n` +
      `On Linux x64 or arm64 \`npm ci\` installs it; elsewhere install Node 24 and run again.\n`,
  )
  process.exit(2)
}

// V8 guesses from the first calls, of which many are under way at once, that objects of a call live
// for long, and may then make them where only a full collection frees them: of three starts two
// promoted 1.7 and 7.6 KB a call instead of 0.24, at 30 and 90 µs of CPU each. It is said here, before
// anything is loaded, because code that was cached under other flags is not taken.
setFlagsFromString('--no-allocation-site-pretenuring')

// V8's middle compiler costs about 25 MiB that stay (after 45,000 calls 159 instead of 196 MB, side by
// side) and saves nothing once the last one has done its work: 237 instead of 245 µs a call at c=32.
setFlagsFromString('--no-maglev')

// Without it a function would wait for its 3,000th call: of the first 4,000 calls of a process each took 1.2 ms
// of CPU instead of 0.7, of the next 5,000 0.7 instead of 0.25. `npm start` and the image let only four of them
// wait to be compiled, which is a limit that V8 takes at its very start: with eight a process kept up to 40 MiB more.
setFlagsFromString('--invocation-count-for-turbofan=300')

// The path of a call is many short functions, called once each: V8 makes one of more of them than it would by
// itself. Of three runs side by side, c=32, CPU a call was 3, 6 and 8 % less; about 4 MB of code more.
setFlagsFromString('--max-inlined-bytecode-size=1000')
setFlagsFromString('--max-inlined-bytecode-size-cumulative=3000')
