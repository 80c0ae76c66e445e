import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

/** What a traced process did to files, and what it told the outside, in the order it happened. */
export type DiskEvent =
  | { readonly kind: 'create'; readonly path: string; readonly truncates: boolean }
  /** `offset` is null for one that goes on where the file ends. */
  | {
      readonly kind: 'write'
      readonly path: string
      readonly offset: number | null
      readonly data: Buffer
    }
  | { readonly kind: 'truncate'; readonly path: string; readonly size: number }
  /** What was written before it began is on the disk once it has ended well. */
  | { readonly kind: 'sync begins'; readonly path: string; readonly pid: string }
  | {
      readonly kind: 'sync ends'
      readonly path: string
      readonly pid: string
      readonly well: boolean
    }
  | { readonly kind: 'mkdir'; readonly path: string }
  | { readonly kind: 'unlink'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  | { readonly kind: 'link'; readonly from: string; readonly to: string }
  /** A line on standard output. */
  | { readonly kind: 'said'; readonly line: string }

/** What strace has to be started with so that its output can be read here. */
export const TRACE_ARGS = [
  '-f',
  '-qq',
  '-y',
  '-xx',
  '-s',
  '4000000',
  '-e',
  'signal=none',
  '-e',
  'trace=mkdir,mkdirat,open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,' +
    'fsync,fdatasync,sync_file_range,ftruncate,truncate,fallocate,copy_file_range,sendfile,' +
    'unlink,unlinkat,rename,renameat,renameat2,link,linkat,mmap',
] as const

const LINE = /^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)/s
const UNFINISHED = /^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$/s
const RESUMED = /^(\d+) +<\.\.\. (\w+) resumed>(.*)$/s
const FILE = /^(\d+)<((?:\\x[0-9a-f]{2})+)>(\(deleted\))?/
const STRING = /"((?:\\x[0-9a-f]{2})*)"/g
const SHARED = /MAP_SHARED.*?(\d+)<((?:\\x[0-9a-f]{2})+)>/

/** Reads a trace made with `TRACE_ARGS`. Throws an Error about a call that this cannot replay. */
export async function* readTrace(file: string): AsyncGenerator<DiskEvent> {
  const started = new Map<string, string>()
  const said = { rest: '' }
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const unfinished = UNFINISHED.exec(line)
    if (unfinished !== null) {
      started.set(unfinished[1]!, line.slice(0, -' <unfinished ...>'.length))
      yield* beginning(unfinished, said)
      continue
    }
    const resumed = RESUMED.exec(line)
    const whole = LINE.exec(resumed === null ? line : `${started.get(resumed[1]!)}${resumed[3]}`)
    if (whole === null) continue
    if (resumed === null) yield* beginning(whole, said)
    yield* ending(whole)
  }
}

function* beginning(call: readonly string[], said: { rest: string }): Generator<DiskEvent> {
  const [, pid = '', name = '', args = ''] = call
  if (isSync(name)) yield { kind: 'sync begins', path: fileOf(args)?.path ?? '', pid }
  // Somebody outside may have heard it from the moment it began.
  if (name === 'write') yield* heard(args, said)
}

function* ending(whole: readonly string[]): Generator<DiskEvent> {
  const [, pid = '', call = '', args = '', result = ''] = whole
  if (isSync(call)) {
    yield { kind: 'sync ends', path: fileOf(args)?.path ?? '', pid, well: result === '0' }
  } else if (!result.startsWith('-') && result !== '?') {
    yield* effects(call, args, Number(result))
  }
}

function isSync(call: string): boolean {
  return call === 'fsync' || call === 'fdatasync'
}

function* heard(args: string, said: { rest: string }): Generator<DiskEvent> {
  if (!args.startsWith('1<')) return
  const lines = (said.rest + stringsOf(args)[0]!.toString()).split('\n')
  said.rest = lines.pop()!
  for (const line of lines) yield { kind: 'said', line }
}

function* effects(call: string, args: string, result: number): Generator<DiskEvent> {
  if (args.startsWith('1<')) return
  const made = MAKERS[call]
  if (made === undefined) throw new Error(`A trace with ${call}(${args.slice(0, 200)})`)
  const event = made(args, result)
  if (event !== null) yield event
}

type Maker = (args: string, result: number) => DiskEvent | null

function opened(args: string): DiskEvent | null {
  const path = stringsOf(args)[0]?.toString() ?? ''
  if (!args.includes('O_CREAT') && !args.includes('O_TRUNC')) return null
  return { kind: 'create', path, truncates: args.includes('O_TRUNC') }
}

function written(args: string, result: number): DiskEvent | null {
  const file = fileOf(args)
  if (file === null) return null
  const data = stringsOf(args)[0]!.subarray(0, result)
  const at = / (\d+)$/.exec(args)?.[1]
  return { kind: 'write', path: file.path, offset: Number(at), data }
}

function appended(args: string, result: number): DiskEvent | null {
  const event = written(args, result)
  return event?.kind === 'write' ? { ...event, offset: null } : null
}

function truncated(args: string): DiskEvent | null {
  const file = fileOf(args)
  const size = Number(/, (\S+)$/.exec(args)?.[1])
  return file === null ? null : { kind: 'truncate', path: file.path, size }
}

function removed(args: string): DiskEvent {
  return { kind: 'unlink', path: stringsOf(args)[0]!.toString() }
}

function moved(kind: 'rename' | 'link'): Maker {
  return (args) => {
    const [from, to] = stringsOf(args)
    return { kind, from: from!.toString(), to: to!.toString() }
  }
}

function mapped(args: string): DiskEvent | null {
  const path = SHARED.exec(args)?.[2]
  if (path === undefined || !args.includes('PROT_WRITE')) return null
  const name = decode(path).toString()
  // The index of a write-ahead log is made anew after a crash; nothing else may be written so.
  if (name.endsWith('-shm') || !name.startsWith('/') || name.startsWith('/dev/')) return null
  throw new Error(`A trace in which ${name} is written through memory`)
}

const MAKERS: Readonly<Record<string, Maker>> = {
  open: opened,
  openat: opened,
  mkdir: (args) => ({ kind: 'mkdir', path: stringsOf(args)[0]!.toString() }),
  write: appended,
  pwrite64: written,
  ftruncate: truncated,
  unlink: removed,
  unlinkat: removed,
  rename: moved('rename'),
  renameat: moved('rename'),
  renameat2: moved('rename'),
  link: moved('link'),
  linkat: moved('link'),
  mmap: mapped,
}

/** Null for one that was unlinked: nobody will find it after a crash. */
function fileOf(args: string): { readonly path: string } | null {
  const match = FILE.exec(args)
  if (match === null || match[3] !== undefined) return null
  return { path: decode(match[2]!).toString() }
}

function stringsOf(args: string): Buffer[] {
  // The path of a descriptor is not quoted, so these are the arguments.
  return [...args.matchAll(STRING)].map((match) => decode(match[1]!))
}

function decode(text: string): Buffer {
  return Buffer.from(text.replaceAll('\\x', ''), 'hex')
}
