import { apiKey } from './api-key.ts'
import { creditCard } from './credit-card.ts'
import type { Detector } from './detector.ts'
import { email } from './email.ts'
import { highEntropy } from './high-entropy.ts'
import { iban } from './iban.ts'
import { ipAddress } from './ip-address.ts'
import { jwt } from './jwt.ts'
import { password } from './password.ts'
import { phone } from './phone.ts'
import { privateKey } from './private-key.ts'
import { promptInjection } from './prompt-injection.ts'
import { usSsn } from './us-ssn.ts'

/** Every detector there is, by id: the ids are those of `DETECTORS` in exchange.ts. */
export const REGISTRY: ReadonlyMap<string, Detector> = new Map(
  [
    email,
    phone,
    usSsn,
    creditCard,
    iban,
    ipAddress,
    jwt,
    privateKey,
    apiKey,
    password,
    highEntropy,
    promptInjection,
  ].map((detector) => [detector.id, detector]),
)
