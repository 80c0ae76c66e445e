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
