import { Agent } from '../lean-http.ts'

/**
 * Connections of the audit to servers that the configuration names: straight there, whatever proxies the
 * environment names to Node (`NODE_USE_ENV_PROXY`), and with certificates checked whatever it says of them
 * (`NODE_TLS_REJECT_UNAUTHORIZED`). Whoever opens it destroys it.
 */
export function directAgent(): Agent {
  return new Agent({ connections: 2, allowH2: false, connect: { rejectUnauthorized: true } })
}

/** Runs `act` with such connections of its own, which end with it. Rejects with what `act` does. */
export async function straight<Result>(
  act: (dispatcher: Agent) => Promise<Result>,
): Promise<Result> {
  const dispatcher = directAgent()
  try {
    return await act(dispatcher)
  } finally {
    await dispatcher.destroy()
  }
}
