import t from 'tap'

/**
 * Loaded before every test file. A test's directory is removed before what it tears down where the
 * directory was asked for first: a Governor then still writes into it, and now and then the removal
 * fails (ENOTEMPTY). What asks to be torn down before anything else makes that order the other way round.
 */
t.beforeEach((t) => t.teardown(() => {}))
