import type { HttpExchange } from './exchange.ts'

/** Asks for a decision without a call; answered by Governor itself, on the proxy port. */
export const CHECK_PATH = '/v1/check'

/** Whether a request is for `/v1/check`. */
export function isCheck({ incoming }: HttpExchange): boolean {
  return incoming.url === CHECK_PATH
}
