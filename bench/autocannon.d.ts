/** The part of autocannon 9 that the bench uses; the package brings no types. */
declare module 'autocannon' {
  function autocannon(
    options: autocannon.Options,
    done: (error: Error | null, result: autocannon.Result) => void,
  ): autocannon.Running
  namespace autocannon {
    interface Options {
      readonly url: string
      readonly connections: number
      readonly amount: number
      readonly method: 'POST'
      readonly headers: Readonly<Record<string, string>>
      readonly body: string
      readonly sampleInt: number
    }
    interface Result {
      readonly '2xx': number
      readonly errors: number
    }
    interface Running {
      on(
        event: 'response',
        listener: (client: unknown, status: number, bytes: number, timeMs: number) => void,
      ): void
    }
  }
  export default autocannon
}
