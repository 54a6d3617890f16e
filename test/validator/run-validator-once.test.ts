import { describe, expect, test } from 'vitest'
import {
  MAX_BEARER_TOKEN_LENGTH,
  runValidatorOnce,
  type ValidatorTrial,
} from '../../src/validator/run-validator-once.ts'
import type { ValidationRequest } from '../../src/validator/contract.ts'
import { fixture, freshLife, inline, readableLog, TOKEN } from './support.ts'

const trial = (values: Partial<ValidatorTrial> = {}): ValidatorTrial => ({
  token: 'ali',
  role: 'ali',
  log: readableLog().log,
  signal: new AbortController().signal,
  ...values,
})

describe('a module tried alone', () => {
  test.each([
    '',
    'two words',
    'ünï',
    'a=b',
    'a\n',
    `"${TOKEN}"`,
    'a'.repeat(MAX_BEARER_TOKEN_LENGTH + 1),
  ])('is not asked about a malformed token', async (token) => {
    const life = freshLife()
    const loaded = await fixture('records-its-life.js')
    expect(await runValidatorOnce(loaded, trial({ token }))).toMatchObject({
      kind: 'malformed_token',
    })
    expect(life).toEqual([])
  })

  test('is not asked with options that it does not have', async () => {
    const loaded = await fixture('with-options.js')
    const options = new Map([['tenat', 'acme']])
    expect(await runValidatorOnce(loaded, trial({ options }))).toMatchObject({
      kind: 'options_refused',
      errors: [{ message: 'unrecognized authentication option name: "validator.tenat"' }],
      timings: { startupMs: undefined },
    })
  })

  test('says that its startup failed', async () => {
    freshLife()
    const loaded = await fixture('throws-in-startup.js')
    expect(await runValidatorOnce(loaded, trial())).toMatchObject({
      kind: 'startup_failed',
      reason: 'threw',
      logDetail: expect.stringContaining('no connection to the key store'),
      timings: { startupMs: expect.any(Number), validateMs: undefined },
    })
  })

  test('is stopped at the deadline', async () => {
    freshLife()
    const loaded = await fixture('heeds-its-signal.js')
    const signal = AbortSignal.timeout(20)
    expect(await runValidatorOnce(loaded, trial({ signal }))).toMatchObject({
      kind: 'validated',
      outcome: { kind: 'internal_error', reason: 'timeout' },
    })
  })

  test('refuses and accepts as it would in a login, and is shut down', async () => {
    const life = freshLife()
    const loaded = await fixture('records-its-life.js')
    expect(await runValidatorOnce(loaded, trial())).toMatchObject({
      kind: 'validated',
      outcome: { kind: 'decided', authorized: true, authnId: 'ali' },
      timings: {
        startupMs: expect.any(Number),
        validateMs: expect.any(Number),
        shutdownMs: expect.any(Number),
      },
    })
    expect(life.map(([event]) => event)).toEqual(['startup', 'validate', 'shutdown'])
    const strict = await fixture('accepts-anything.js')
    expect(await runValidatorOnce(strict, trial({ token: 'other' }))).toMatchObject({
      outcome: { kind: 'decided', authorized: false },
    })
  })

  test('gets the options, the issuer and the scope of the trial', async () => {
    const loaded = inline({
      options: ['tenant'],
      validate: (_state: unknown, { issuer, scope, options, connection }: ValidationRequest) => ({
        authorized: false,
        errorDetail: JSON.stringify([issuer, scope, options, connection.database]),
      }),
    })
    const options = new Map([['tenant', 'acme']])
    expect(
      await runValidatorOnce(
        loaded,
        trial({ token: 'other', options, issuer: 'https://a.test', scope: 'a b' }),
      ),
    ).toMatchObject({
      outcome: { errorDetail: '["https://a.test",["a","b"],{"tenant":"acme"},"ali"]' },
    })
  })
})
