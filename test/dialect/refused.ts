import { GovernorError } from '../../src/errors.ts'

/** What a body is refused with, `CODE param`; `accepted` where it is not. */
export async function refused(reading: Promise<unknown>): Promise<string> {
  try {
    await reading
    return 'accepted'
  } catch (error) {
    if (!(error instanceof GovernorError)) throw error
    return `${error.code} ${error.param ?? '-'}`
  }
}
