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
