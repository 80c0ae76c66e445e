/** Detectors that come with Governor: what `input.detect` may name beside those of the file. */
export const DETECTORS = [
  'email',
  'phone',
  'us_ssn',
  'credit_card',
  'iban',
  'ip_address',
  'jwt',
  'private_key',
  'api_key',
  'password',
  'high_entropy',
  'prompt_injection',
] as const
