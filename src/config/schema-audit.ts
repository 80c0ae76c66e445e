import { map, optional, text } from './spec.ts'

const URL = /^https?:\/\/[^\s@?#]+$/

/** `audit.checkpoints`. */
export const CHECKPOINTS = map('checkpoints', {
  file: optional(
    text('a path', undefined, 4096),
    'Each signed checkpoint is appended here; best on another volume.',
  ),
  url: optional(
    text('an http or https URL without user, query or fragment', URL, 2048),
    'Each signed checkpoint is PUT below this URL, at the path of its origin.',
  ),
})

/** `audit.root`. */
export const ROOT = map('audit.root', {
  file: optional(
    text('a path', undefined, 4096),
    'The root lies here: `governor audit publish` replaces it, `audit prune` reads it.',
  ),
  url: optional(
    text('an http or https URL without user, query or fragment', URL, 2048),
    'The root is PUT below this URL, at `governor/fleet`, and read from there where there is no `file`.',
  ),
  keys: optional(
    text('a path', undefined, 4096),
    'Public keys that may sign the root, a list like `audit.db.keys.json`; the list beside the log when absent.',
  ),
})
