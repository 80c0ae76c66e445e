import t from 'tap'

import { alternativeNames } from '../../src/auth/certificate.ts'

t.test('alternativeNames() reads whole entries of one kind, however they are quoted', async (t) => {
  const text =
    'DNS:a.example, URI:spiffe://acme/x, email:a@b.c, DNS:"b, URI:spiffe://evil", IP Address:10.0.0.1'
  t.strictSame(alternativeNames(text, 'URI'), ['spiffe://acme/x'])
  t.strictSame(alternativeNames(text, 'DNS'), ['a.example', 'b, URI:spiffe://evil'])
  t.strictSame(alternativeNames(text, 'email'), ['a@b.c'])
  t.strictSame(alternativeNames('', 'URI'), [])
  t.strictSame(alternativeNames('no entries', 'URI'), [])
})
