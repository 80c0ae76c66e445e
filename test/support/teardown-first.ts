import { isMainThread } from 'node:worker_threads'

/**
 * Loaded before every test file. tap removes a test's directory before it tears down, where the
 * directory was asked for first: a Governor then still writes into it, and now and then the removal
 * fails (ENOTEMPTY). A teardown that is there before anything else turns that order round.
 */
// Threads and processes of a test are given the same arguments.
if (isMainThread && process.argv[1]?.endsWith('.test.ts') === true) {
  const { default: t } = await import('tap')
  t.beforeEach((t) => t.teardown(() => {}))
}
