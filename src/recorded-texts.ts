import { textsOfCall } from './audit/read-content.ts'
import type { Snapshot } from './config/snapshot.ts'
import { DIALECTS } from './dialects.ts'
import type { RecordedDecision } from './policy/recorded.ts'

/**
 * The texts of a recorded call, read again from its body where that was kept whole and as it was sent
 * (`audit.content: full`); null where policies have to go without. `snapshot` says what its upstream speaks.
 */
export async function recordedTexts(
  { requestId, call, hasPrompt }: RecordedDecision,
  { audit, upstreams, maximums }: Snapshot,
): Promise<readonly string[] | null> {
  const upstream = upstreams.find(({ name }) => name === call.upstream?.name)
  if (!hasPrompt || upstream === undefined) return null
  const [prompt, ...more] = textsOfCall(audit.path, requestId).filter(
    ({ name }) => name === 'prompt',
  )
  // A call that fell back has one of each model, and nothing here says which is meant.
  if (prompt === undefined || prompt.text === null || more.length > 0) return null
  const dialect = DIALECTS[upstream.dialect]
  const route = { ...call.route, dialect, mount: null, path: '/' }
  try {
    const facts = await dialect.inspect(route, Buffer.from(prompt.text), maximums)
    return facts.texts.values
  } catch {
    // Forms, and what this version reads in another way.
    return null
  }
}
