import pino, { type Logger } from 'pino'

/** What code may log with: an object of fields, then a message. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'>

/**
 * JSON lines on `stream` (standard error by default, so that standard output stays the user's).
 * pino escapes control characters as JSON does. Never pass it a header, a body or a credential.
 */
export function createLog(
  level: 'debug' | 'info' | 'warn' | 'silent',
  stream: { write(line: string): void } = pino.destination({ dest: 2, sync: true }),
): Log {
  return pino(
    {
      level,
      base: null,
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  )
}

/** Log lines nobody reads, for commands and tests. */
export const silentLog: Log = createLog('silent', { write() {} })
