import { choice, map, optional, required, secret, text } from './spec.ts'

const FILE = text('a path', undefined, 4096)

/** The rest of a credential of AWS, beside the secret access key, which is `credential`. */
export const AWS = map('upstreams.aws', {
  region: required(
    text('a region like eu-central-1', /^[a-z]{2,3}(?:-[a-z]+)+-\d{1,2}$/, 32),
    'The region that is signed for, the one in `url`.',
  ),
  credentials: optional(
    choice(['chain']),
    '`chain`: keys are not in this file but where AWS puts them, see [Bedrock](#amazon-bedrock); then without `credential` and the keys below.',
  ),
  access_key_id: optional(secret(), 'The id of the access key, as `${NAME}`.'),
  access_key_id_file: optional(FILE, 'A file holding it instead.'),
  session_token: optional(secret(), 'Of a temporary credential, as `${NAME}`.'),
  session_token_file: optional(FILE, 'A file holding it instead.'),
})
