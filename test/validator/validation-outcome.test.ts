import { describe, expect, test } from 'vitest'
import {
  MAX_AUTHN_ID_BYTES,
  MAX_CODE_LENGTH,
  MAX_EXPIRES_AT,
  readValidationResult,
} from '../../src/validator/validation-outcome.ts'
import { MAX_MODULE_TEXT } from '../../src/validator/scrub.ts'
import { OPAQUE, piecesIn, TOKEN } from './support.ts'

const secrets = { tokens: [TOKEN], forgotten: false }
const read = (value: unknown) => readValidationResult(value, TOKEN, secrets)
const yes = { authorized: true, authnId: 'ali' }

class Answer {
  get authorized(): boolean {
    return true
  }
}

describe('an answer of another shape is an internal error', () => {
  const shapes: readonly (readonly [string, unknown])[] = [
    ['true', true],
    ['undefined', undefined],
    ['null', null],
    ['a string', 'yes'],
    ['a number', 1],
    ['a function', () => yes],
    ['an empty object', {}],
    ['an array', [true]],
    ['an array with members', Object.assign([], yes)],
    ['an error', new Error('no')],
    ['a map', new Map([['authorized', true]])],
    ['an inherited yes', Object.create(yes)],
    ['a getter of a class', new Answer()],
    ['authorized: 1', { ...yes, authorized: 1 }],
    ['authorized: "true"', { ...yes, authorized: 'true' }],
    ['authorized: null', { ...yes, authorized: null }],
    ['authorized: undefined', { ...yes, authorized: undefined }],
    ['authorized: a Boolean object', { ...yes, authorized: Object(true) as unknown }],
    ['authorized: a function', { ...yes, authorized: () => true }],
    ['errorDetail: an error', { ...yes, errorDetail: new Error('x') }],
    ['errorDetail: null', { ...yes, errorDetail: null }],
    ['code: a number', { ...yes, code: 7 }],
    ['expiresAt: a string', { ...yes, expiresAt: '1999999999' }],
    ['expiresAt: null', { ...yes, expiresAt: null }],
    ['expiresAt: NaN', { ...yes, expiresAt: Number.NaN }],
    ['expiresAt: Infinity', { ...yes, expiresAt: Number.POSITIVE_INFINITY }],
    ['expiresAt: a date', { ...yes, expiresAt: new Date() }],
    ['expiresAt: a bigint', { ...yes, expiresAt: 1n }],
    ['expiresAt: milliseconds', { ...yes, expiresAt: 1_999_999_999_000 }],
    ['a revoked proxy', revoked()],
    ['a proxy with traps', new Proxy({}, { getOwnPropertyDescriptor: boom })],
    ['a getter that throws', Object.defineProperty({}, 'authorized', { get: boom })],
  ]
  test.each(shapes)('%s', (_name, value) => {
    const outcome = read(value)
    expect(outcome).toMatchObject({ kind: 'internal_error', reason: 'bad_result' })
    expect(outcome).not.toHaveProperty('authnId')
  })

  test('false has a reason of its own', () => {
    expect(read(false)).toEqual({
      kind: 'internal_error',
      reason: 'returned_false',
      logDetail: 'validate returned false',
    })
  })

  test('what a getter throws is logged without the token', () => {
    const outcome = read(
      Object.defineProperty({}, 'authorized', {
        get: () => {
          throw new Error(`refused ${TOKEN}`)
        },
        enumerable: true,
      }),
    )
    expect(outcome).toMatchObject({ reason: 'bad_result' })
    expect(piecesIn(JSON.stringify(outcome), TOKEN)).toEqual([])
    expect(JSON.stringify(outcome)).toContain('refused [token]')
  })
})

describe('an identity that is none is an internal error', () => {
  const identities: readonly (readonly [string, unknown])[] = [
    ['a number', 7],
    ['a boolean', false],
    ['an object', { toString: () => 'ali' }],
    ['a String object', Object('ali') as unknown],
    ['an array', ['ali']],
    ['one that is too long', 'a'.repeat(MAX_AUTHN_ID_BYTES + 1)],
    ['one that is too long in bytes', 'ä'.repeat(MAX_AUTHN_ID_BYTES / 2 + 1)],
    ['one of ten million characters', 'a'.repeat(10_000_000)],
    ['one with a NUL', 'ali\0'],
    ['one with a line feed', 'ali\n'],
    ['one with an escape', '\u001b[2Jali'],
    ['one with a delete', 'ali\u007f'],
    ['one with a C1 control character', 'ali\u0085'],
    ['one with half of a surrogate pair', 'ali\ud83d'],
    ['one with the other half', '\ude00ali'],
    ['the token', TOKEN],
    ['one with a part of the token', `sub:${TOKEN.split('.')[1]}`],
  ]
  test.each(identities)('%s', (_name, authnId) => {
    for (const authorized of [true, false]) {
      const outcome = read({ authorized, authnId })
      expect(outcome).toMatchObject({ kind: 'internal_error', reason: 'bad_authn_id' })
      expect(JSON.stringify(outcome).length).toBeLessThan(200)
      expect(piecesIn(JSON.stringify(outcome), TOKEN)).toEqual([])
    }
  })
})

describe('a polluted Object.prototype', () => {
  test('decides nothing', () => {
    const pollution = { authorized: true, authnId: 'postgres', expiresAt: 1, code: 'x' }
    try {
      for (const [key, value] of Object.entries(pollution)) {
        // oxlint-disable-next-line no-extend-native -- what a bad module does
        Object.defineProperty(Object.prototype, key, { value, configurable: true })
      }
      expect(read({})).toMatchObject({ kind: 'internal_error', reason: 'bad_result' })
      const anonymous = read({ authorized: true })
      expect(Object.entries(anonymous)).toContainEqual(['authnId', undefined])
      expect(Object.entries(anonymous)).toContainEqual(['expiresAt', undefined])
    } finally {
      for (const key of Object.keys(pollution)) {
        Reflect.deleteProperty(Object.prototype, key)
      }
    }
  })
})

describe('a decision', () => {
  test('is read once: what changes at the second look does not count', () => {
    const looks: string[] = []
    const result = new Proxy(
      { authorized: false, authnId: 'ali', errorDetail: 'no', expiresAt: 1, code: 'c' },
      {
        get: (target, key) => {
          looks.push(String(key))
          return looks.filter((look) => look === key).length > 1
            ? true
            : (Reflect.get(target, key) as unknown)
        },
      },
    )
    expect(read(result)).toMatchObject({ kind: 'decided', authorized: false, authnId: 'ali' })
    expect(looks.toSorted()).toEqual(['authnId', 'authorized', 'code', 'errorDetail', 'expiresAt'])
  })

  test('to refuse keeps the identity', () => {
    expect(
      read({ authorized: false, authnId: 'ali', errorDetail: 'expired', code: 'expired' }),
    ).toEqual({
      kind: 'decided',
      authorized: false,
      authnId: 'ali',
      errorDetail: 'expired',
      expiresAt: undefined,
      code: 'expired',
    })
  })

  test.each([undefined, null])('may have no identity: %j', (authnId) => {
    expect(read({ authorized: true, authnId })).toMatchObject({
      kind: 'decided',
      authorized: true,
      authnId: undefined,
    })
  })

  test.each(['', ' ', 'ali@example.com', '張三', '😀', 'a'.repeat(MAX_AUTHN_ID_BYTES), OPAQUE])(
    'may be about %j',
    (authnId) => {
      expect(read({ authorized: true, authnId })).toMatchObject({ kind: 'decided', authnId })
    },
  )

  test.each([0, 1_999_999_999, 1_999_999_999.5, MAX_EXPIRES_AT])(
    'may expire at %d',
    (expiresAt) => {
      expect(read({ ...yes, expiresAt })).toMatchObject({ kind: 'decided', expiresAt })
    },
  )

  test('has a detail and a code without the token, printable and bounded', () => {
    const outcome = read({
      authorized: false,
      errorDetail: `cannot use ${TOKEN}\n${'x '.repeat(5000)}`,
      code: `bad_${TOKEN}${'y '.repeat(500)}`,
    })
    expect(outcome).toMatchObject({ kind: 'decided', authorized: false })
    const { errorDetail = '', code = '' } = outcome as { errorDetail?: string; code?: string }
    expect(errorDetail.startsWith('cannot use [token]\\u000ax x')).toBe(true)
    expect(errorDetail.length).toBeLessThanOrEqual(MAX_MODULE_TEXT + 6)
    expect(code.length).toBeLessThanOrEqual(MAX_CODE_LENGTH + 1)
    expect(piecesIn(JSON.stringify(outcome), TOKEN)).toEqual([])
  })

  test('may come without a prototype, from a class with fields, or from a harmless proxy', () => {
    class Result {
      authorized = true
      authnId = 'ali'
    }
    const answers = [
      Object.assign(Object.create(null) as object, yes),
      new Result(),
      new Proxy(yes, {}),
      Object.freeze({ ...yes }),
    ]
    for (const answer of answers) {
      expect(read(answer)).toMatchObject({ kind: 'decided', authorized: true, authnId: 'ali' })
    }
  })
})

function boom(): never {
  throw new Error('a trap')
}

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}
