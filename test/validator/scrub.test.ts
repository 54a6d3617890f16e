import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  containsToken,
  MAX_MODULE_TEXT,
  NO_SECRETS,
  scrubFields,
  scrubText,
} from '../../src/validator/scrub.ts'
import { OPAQUE, piecesIn, TOKEN } from './support.ts'

const known = { tokens: [TOKEN, OPAQUE], forgotten: false }
const [header = '', payload = '', signature = ''] = TOKEN.split('.')

describe('text of a module', () => {
  test.each([
    [`bad token ${TOKEN}`, 'bad token [token]'],
    [`"${OPAQUE}"`, '"[token]"'],
    [`${payload} is no claims set`, '[token] is no claims set'],
    [`signature ${signature} does not match`, 'signature [token] does not match'],
    [`begins with ${OPAQUE.slice(0, 16)}…`, 'begins with [token]…'],
    [`ends in …${OPAQUE.slice(-16)}`, 'ends in …[token]'],
    [`has ${OPAQUE.slice(5, 21)} in it`, 'has [token] in it'],
    [`Bearer%20${TOKEN}`, 'Bearer%20[token]'],
    [`access_token=${OPAQUE}&x=1`, 'access_token=[token]&x=1'],
  ])('%j becomes %j', (text, clean) => {
    expect(scrubText(text, known)).toBe(clean)
  })

  test('loses a token that is percent-encoded', () => {
    const token = 'ab+/cd+/ef+/gh+/ij=='
    const text = `GET /introspect?token=${encodeURIComponent(token)}`
    expect(scrubText(text, { tokens: [token], forgotten: false })).toBe(
      'GET /introspect?token=[token]',
    )
  })

  test('loses a token however short it is', () => {
    expect(scrubText('no such token: ab12', { tokens: ['ab12'], forgotten: false })).toBe(
      'no such token: [token]',
    )
    expect(scrubText('text', { tokens: [''], forgotten: false })).toBe('text')
  })

  test('loses what looks like a part of a JWT even when no token is known', () => {
    expect(scrubText(`somebody had ${TOKEN}`, NO_SECRETS)).toBe('somebody had [token]')
    expect(scrubText(`header ${header}`, NO_SECRETS)).toBe('header [token]')
  })

  test('loses every long run once the token is forgotten', () => {
    const after = { tokens: [], forgotten: true }
    expect(scrubText(`still have ${OPAQUE}`, after)).toBe('still have [token]')
    expect(scrubText('connect ECONNREFUSED 127.0.0.1:443', after)).toBe(
      'connect ECONNREFUSED 127.0.0.1:443',
    )
  })

  test('keeps addresses, paths and identifiers', () => {
    const text =
      'no key "b7c1e0f2-9a55-4d7e-8a51-0c3a1f6f0e11" at https://login.example.com/tenant/keys?v=2.0'
    expect(scrubText(text, known)).toBe(text)
  })

  test('is cut, and not in such a way that a piece of a token is left', () => {
    for (let before = 8100; before < 8200; before += 7) {
      const clean = scrubText(`${'x '.repeat(before / 2)}${TOKEN}`, known)
      expect(clean.length).toBeLessThanOrEqual(MAX_MODULE_TEXT + 1)
    }
    for (const length of [8000, 8192, 10_000]) {
      const huge = 'Ab1'.repeat(4000)
      const text = `${huge.slice(0, length)} and more`
      expect(piecesIn(scrubText(text, { tokens: [huge], forgotten: false }), huge)).toEqual([])
    }
  })

  test('cannot forge a line or move a cursor', () => {
    expect(scrubText('one\nFATAL: two\u001b[2J\u2028', NO_SECRETS)).toBe(
      'one\\u000aFATAL: two\\u001b[2J\\u2028',
    )
    expect(scrubText('half \ud83d', NO_SECRETS)).toBe('half \ufffd')
  })

  test('never keeps a piece of 16 characters of any token, wherever it stands', () => {
    const character = fc.constantFrom(
      ...Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/'),
    )
    const token = fc.string({ unit: character, minLength: 16, maxLength: 300 })
    fc.assert(
      fc.property(
        token,
        fc.string({ maxLength: 3000 }),
        fc.string({ maxLength: 40 }),
        fc.nat(300),
        fc.nat(300),
        (secret, before, after, from, length) => {
          const piece = secret.slice(Math.min(from, secret.length - 16)).slice(0, 16 + length)
          const clean = scrubText(before + piece + after, { tokens: [secret], forgotten: false })
          expect(piecesIn(clean, secret)).toEqual([])
        },
      ),
      { numRuns: 500 },
    )
  })

  test('costs little even when token and text are made to cost much', () => {
    const token = 'a'.repeat(65_497)
    const text = `unknown kid ${`${'a'.repeat(7)}b`.repeat(1000)}`
    expect(scrubText(text, { tokens: [token], forgotten: false }).length).toBeLessThan(9000)
  })
})

describe('fields of a log line of a module', () => {
  test('lose the token in values, names, lists, errors, bytes and what serialises itself', () => {
    const fields = {
      token: TOKEN,
      [OPAQUE]: 1,
      list: [TOKEN, { deep: { deeper: `x ${signature}` } }],
      error: new Error(`cannot parse ${OPAQUE}`, { cause: new Error(TOKEN) }),
      bytes: Buffer.from(TOKEN),
      array: new Uint8Array(Buffer.from(TOKEN)).buffer,
      url: new URL(`https://idp.test/?t=${OPAQUE}`),
      own: { toJSON: () => ({ token: TOKEN }) },
      map: new Map([[TOKEN, TOKEN]]),
    }
    const clean = JSON.stringify(scrubFields(fields, known))
    expect([...piecesIn(clean, TOKEN), ...piecesIn(clean, OPAQUE)]).toEqual([])
    expect(clean).toContain('bytes]')
  })

  test('keep their shape where there is nothing to hide', () => {
    const fields = { n: 1, s: 'text', yes: true, none: null, list: [1, 'two'], big: 10n }
    expect(scrubFields(fields, known)).toEqual({ ...fields, big: '10' })
  })

  test('are bounded in number, depth and length, also when they are circular', () => {
    const circular: Record<string, unknown> = { text: 'y '.repeat(100_000) }
    circular['self'] = circular
    for (let field = 0; field < 10_000; field += 1) {
      circular[`f${field}`] = { a: [1, 2, 3] }
    }
    expect(JSON.stringify(scrubFields(circular, known)).length).toBeLessThan(20_000)
  })

  test('that throw when they are read are left out', () => {
    const throws = {
      get: () => {
        throw new Error('do not look')
      },
    }
    const fields = {
      getter: Object.defineProperty({}, 'x', { enumerable: true, ...throws }),
      proxy: new Proxy({}, { ...throws, ownKeys: throws.get, has: throws.get }),
      json: { toJSON: throws.get },
      method: () => TOKEN,
    }
    expect(scrubFields(fields, known)).toEqual({
      getter: '[unreadable]',
      proxy: '[unreadable]',
      json: '[unreadable]',
      method: '[function]',
    })
  })

  test('called __proto__ are fields like any other', () => {
    const fields: unknown = JSON.parse('{"__proto__": {"level": "fatal"}}')
    expect(JSON.stringify(scrubFields(fields, known))).toBe('{"__proto__":{"level":"fatal"}}')
  })
})

describe('an identity', () => {
  test.each([
    [TOKEN, true],
    [`user ${TOKEN}`, true],
    [signature, true],
    [TOKEN.slice(3, 19), true],
    ['ali@example.com', false],
    ['', false],
  ])('%j has the token in it: %j', (authnId, has) => {
    expect(containsToken(authnId, TOKEN)).toBe(has)
  })

  test.each([
    [
      'ali.smith-at-example.com',
      'acme1~ali.smith-at-example.com~1795000000~Qm7xT2vKpL9wRz4nYc8sHd3f',
      false,
    ],
    [
      'ali.smith-at-example.com',
      'ali.smith-at-example.com_Qm7xT2vKpL9wRz4nYc8sHd3fGb6jMa1eUo5i',
      false,
    ],
    [
      'i.smith-at-example.com',
      'acme1~ali.smith-at-example.com~1795000000~Qm7xT2vKpL9wRz4nYc8sHd3f',
      true,
    ],
    ['Qm7xT2vKpL9wRz4nYc8sHd3fGb6jMa1eUo5i', 'ali~Qm7xT2vKpL9wRz4nYc8sHd3fGb6jMa1eUo5i', true],
    ['ali~Qm7xT2vKpL9wRz4n', 'ali~Qm7xT2vKpL9wRz4nYc8sHd3fGb6jMa1eUo5i', true],
  ])('%s may be a field of the token, but not a piece of one: %s', (authnId, token, has) => {
    expect(containsToken(authnId, token)).toBe(has)
  })

  test('may be equal to a token that is too short to be a secret', () => {
    expect(containsToken('ali', 'ali')).toBe(false)
    expect(containsToken('', OPAQUE)).toBe(false)
    expect(containsToken('', TOKEN)).toBe(false)
  })
})
