/** The subset of a Dockerfile that ours uses; anything else is an error, so nothing goes unread. */

export interface Instruction {
  /** Upper case. */
  readonly name: string
  /** `--name=value` options in front, without the dashes. */
  readonly flags: Readonly<Record<string, string>>
  /** The rest of the line, continuations joined by one space. */
  readonly text: string
}

export interface Stage {
  readonly from: string
  readonly name: string | null
  readonly instructions: readonly Instruction[]
}

const KNOWN = [
  'COPY',
  'RUN',
  'ENV',
  'USER',
  'WORKDIR',
  'VOLUME',
  'EXPOSE',
  'STOPSIGNAL',
  'HEALTHCHECK',
  'ENTRYPOINT',
  'CMD',
]

/** Splits a Dockerfile into its stages. Throws an Error at an instruction it does not know. */
export function parseDockerfile(text: string): Stage[] {
  const stages: { from: string; name: string | null; instructions: Instruction[] }[] = []
  const lines = text.split('\n').filter((line) => !/^\s*(#|$)/.test(line))
  for (const line of lines
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')) {
    const instruction = parseLine(line)
    if (instruction.name === 'FROM') {
      const [from = '', , name = null] = instruction.text.split(/\s+/)
      stages.push({ from, name, instructions: [] })
    } else if (KNOWN.includes(instruction.name) && stages.length > 0) {
      stages.at(-1)!.instructions.push(instruction)
    } else {
      throw new Error(`Cannot read Dockerfile line "${line}"`)
    }
  }
  return stages
}

function parseLine(line: string): Instruction {
  const [, name = '', rest = ''] = /^\s*(\w+)\s+(.*)$/.exec(line) ?? []
  const flags: Record<string, string> = {}
  const text = rest.trim().replace(/^(--[\w-]+=\S+\s+)+/, (found) => {
    for (const flag of found.trim().split(/\s+/)) {
      const [key = '', value = ''] = flag.slice(2).split('=')
      flags[key] = value
    }
    return ''
  })
  return { name: name.toUpperCase(), flags, text }
}

/** All instructions of that name, in order. */
export function all(stage: Stage, name: string): Instruction[] {
  return stage.instructions.filter((instruction) => instruction.name === name)
}

/** The text of the last instruction of that name, which is the one that counts. */
export function last(stage: Stage, name: string): string {
  const found = all(stage, name).at(-1)
  if (found === undefined) throw new Error(`There is no ${name} in the Dockerfile`)
  return found.text
}

/** The exec form, `["node", "-e"]`, of `ENTRYPOINT`, `CMD`, `VOLUME`, or what follows in `HEALTHCHECK`. */
export function execForm(text: string): string[] {
  return JSON.parse(text.replace(/^CMD\s+/, '')) as string[]
}

/** `NAME=value`s of all ENV instructions. */
export function environment(stage: Stage): Record<string, string> {
  const pairs = all(stage, 'ENV').flatMap(({ text }) =>
    [...text.matchAll(/(\w+)=(?:"([^"]*)"|(\S+))/g)].map(([, name, quoted, plain]) => [
      name!,
      quoted ?? plain!,
    ]),
  )
  return Object.fromEntries(pairs) as Record<string, string>
}
