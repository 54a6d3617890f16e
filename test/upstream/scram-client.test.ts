import { Buffer } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import { UpstreamError } from '../../src/errors.ts'
import { MIN_ITERATIONS, ScramClient } from '../../src/upstream/scram-client.ts'
import { deriveKeys } from '../../src/upstream/scram-keys.ts'

// RFC 7677 §3
const NONCE = 'rOprNGfwEbeRWgbNEkqO'
const SERVER_FIRST =
  'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'
const SERVER_FINAL = 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='

async function exchange(): Promise<ScramClient> {
  const scram = new ScramClient({ flag: 'n' }, NONCE, 'user')
  const first = scram.readServerFirst(SERVER_FIRST, MIN_ITERATIONS)
  const final = scram.clientFinal(first, await deriveKeys('pencil', first.salt, first.iterations))
  expect(final).toBe(
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  )
  return scram
}

function readServerFirst(message: string): unknown {
  return new ScramClient({ flag: 'n' }, NONCE).readServerFirst(message, MIN_ITERATIONS)
}

describe('a SCRAM-SHA-256 exchange', () => {
  test('is the one of RFC 7677', async () => {
    expect(new ScramClient({ flag: 'n' }, NONCE, 'user').clientFirst()).toBe(
      'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
    )
    const scram = await exchange()
    expect(() => scram.readServerFinal(SERVER_FINAL)).not.toThrow()
  })

  test('begins with another nonce every time', () => {
    const first = () => new ScramClient({ flag: 'n' }).clientFirst()
    expect(first()).toMatch(/^n,,n=,r=[A-Za-z0-9+/]{24}$/)
    expect(first()).not.toBe(first())
  })

  test('says what it does about channel binding', () => {
    expect(new ScramClient({ flag: 'y' }, NONCE).clientFirst()).toBe(`y,,n=,r=${NONCE}`)
    const scram = new ScramClient({ flag: 'p', endPoint: Buffer.from([0xff, 0x00]) }, NONCE)
    expect(scram.clientFirst()).toBe(`p=tls-server-end-point,,n=,r=${NONCE}`)
    const first = scram.readServerFirst(SERVER_FIRST, MIN_ITERATIONS)
    const zeros = Buffer.alloc(32)
    const [binding = ''] = scram
      .clientFinal(first, { clientKey: zeros, serverKey: zeros })
      .split(',')
    expect(Buffer.from(binding.slice(2), 'base64')).toEqual(
      Buffer.from('p=tls-server-end-point,,\xff\x00', 'latin1'),
    )
  })

  test.each([
    ['a nonce that is not ours', SERVER_FIRST.replace('r=rOpr', 'r=rOps')],
    ['our nonce as it was', `r=${NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`],
    ['a nonce before ours', `r=x${NONCE}y,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`],
    ['a nonce with a blank', SERVER_FIRST.replace('%hv', '% v')],
    ['no nonce', 's=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
    ['no salt', `r=${NONCE}x,i=4096`],
    ['an empty salt', `r=${NONCE}x,s=,i=4096`],
    ['a salt that is not base64', SERVER_FIRST.replace('W22Za', 'W22-a')],
    ['a salt with wrong padding', SERVER_FIRST.replace('gQ==', 'gQ=')],
    ['an endless salt', `r=${NONCE}x,s=${Buffer.alloc(1500).toString('base64')},i=4096`],
    ['no iterations', `r=${NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==`],
    ['zero iterations', SERVER_FIRST.replace('4096', '0')],
    ['a negative number of iterations', SERVER_FIRST.replace('4096', '-4096')],
    ['iterations in another notation', SERVER_FIRST.replace('4096', '0x1000')],
    ['too few iterations', SERVER_FIRST.replace('4096', '4095')],
    ['two thousand million iterations', SERVER_FIRST.replace('4096', '2000000000')],
    ['more iterations than a number holds', SERVER_FIRST.replace('4096', '9'.repeat(400))],
    ['something behind', `${SERVER_FIRST},x=1`],
    ['a line break behind', `${SERVER_FIRST}\n`],
    ['a mandatory extension', `m=x,${SERVER_FIRST}`],
    ['nothing', ''],
  ])('refuses a server-first-message with %s', (_what, message) => {
    expect(() => readServerFirst(message)).toThrow(UpstreamError)
  })

  test('accepts fewer iterations where the caller does', () => {
    const scram = new ScramClient({ flag: 'n' }, NONCE)
    expect(scram.readServerFirst(SERVER_FIRST.replace('4096', '1'), 1).iterations).toBe(1)
  })

  test.each([
    ['another signature', SERVER_FINAL.replace('v=6', 'v=7')],
    ['half a signature', 'v=6rriTRBi23WpRR/wtup+mA=='],
    ['an empty signature', 'v='],
    ['a longer signature', `v=${Buffer.alloc(64).toString('base64')}`],
    ['something behind', `${SERVER_FINAL},x=1`],
    ['a line break behind', `${SERVER_FINAL}\n`],
    ['an error', 'e=invalid-proof'],
    ['nothing', ''],
  ])('refuses a server-final-message with %s', async (_what, message) => {
    const scram = await exchange()
    expect(() => scram.readServerFinal(message)).toThrow(UpstreamError)
  })

  test('refuses a signature that comes before the proof', () => {
    const scram = new ScramClient({ flag: 'n' }, NONCE, 'user')
    expect(() => scram.readServerFinal(SERVER_FINAL)).toThrow(UpstreamError)
  })
})
