/** Operations, one name across dialects and endpoints. Closed: an unknown one is refused. */
export const OPERATIONS = [
  'chat',
  'completions',
  'embeddings',
  'images',
  'speech',
  'transcription',
  'moderations',
  'rerank',
  'tokens',
  'realtime',
  'batches',
  'fine_tuning',
  'evals',
  'assistants',
  'models',
  'files.read',
  'files.write',
  'files.delete',
  'stored.read',
  'stored.write',
  'stored.delete',
  'admin',
  // Endpoints that are in no table, where `defaults.unknown_operation` lets them pass.
  'other',
] as const

/** A name of the file's `operations`, which only a described call can have. */
export type OwnOperation = string & { readonly isOwn: true }
export type Operation = (typeof OPERATIONS)[number] | OwnOperation

/** Whether a call can have this operation, by its own name or one of the file's. */
export function isOperation(name: string, own: readonly string[]): name is Operation {
  return (OPERATIONS as readonly string[]).includes(name) || own.includes(name)
}

/** Operations whose requests are refused without a model; the others may go without. */
export const NEEDS_MODEL: ReadonlySet<Operation> = new Set([
  'chat',
  'completions',
  'embeddings',
  'images',
  'speech',
  'transcription',
  'rerank',
  'tokens',
  'realtime',
])
