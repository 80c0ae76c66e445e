import { Writer } from '../../../src/audit/writer.ts'

type Options = ConstructorParameters<typeof Writer>[0]

/** A writer of its own chain in the first file of the log at `path`, but for what `more` says. */
export function openWriter(
  path: string,
  more: Pick<Options, 'writerId' | 'role'> & Partial<Options>,
): Writer {
  return new Writer({
    path,
    epoch: 1,
    version: 'test',
    busyMs: 1000,
    pageBytesMax: 0,
    recover: false,
    continues: null,
    openCalls: [],
    ...more,
  })
}
