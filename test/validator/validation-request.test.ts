import { format, inspect } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import { describe, expect, test } from 'vitest'
import { createValidationRequest } from '../../src/validator/validation-request.ts'
import { CONNECTION, INPUT, piecesIn, TOKEN } from './support.ts'

const request = createValidationRequest(INPUT, Object.freeze({ ...CONNECTION }))

describe('a validation request', () => {
  const ways: readonly (readonly [string, () => string])[] = [
    ['inspection', () => inspect(request)],
    [
      'inspection of all there is',
      () => inspect(request, { showHidden: true, getters: true, depth: null, showProxy: true }),
    ],
    ['inspection inside of something', () => inspect({ deep: [request] }, { depth: null })],
    ['what console.log writes', () => format('%s %o %O %j', request, request, request, request)],
    ['JSON', () => JSON.stringify(request)],
    ['a spread', () => JSON.stringify({ ...request })],
    ['Object.assign', () => JSON.stringify(Object.assign({}, request))],
    ['a structured clone', () => JSON.stringify(structuredClone(request))],
    ['v8 serialization', () => JSON.stringify(deserialize(serialize(request)))],
    [
      'a rest pattern',
      () => {
        const { role, ...rest } = request
        return `${role} ${JSON.stringify(rest)}`
      },
    ],
    [
      'its entries and names',
      () =>
        JSON.stringify([
          Object.entries(request),
          Object.getOwnPropertyNames(request),
          Reflect.ownKeys(request).map(String),
          Object.values(Object.getOwnPropertyDescriptors(request)),
        ]),
    ],
    ['a string', () => Object.prototype.toString.call(request)],
  ]

  test.each(ways)('leaves the token out of %s', (_way, show) => {
    const shown = show()
    expect(shown).not.toBe('')
    expect(piecesIn(shown, TOKEN)).toEqual([])
  })

  test('still shows everything else when it is printed', () => {
    for (const value of ['ali', 'https://idp.test', 'openid', 'app', '192.0.2.1']) {
      expect(inspect(request)).toContain(value)
      expect(JSON.stringify(request)).toContain(value)
    }
  })

  test('gives the token to who asks for it by name', () => {
    expect(request.token).toBe(TOKEN)
  })

  test('cannot be changed', () => {
    expect(Object.isFrozen(request)).toBe(true)
    expect(Object.isFrozen(request.scope)).toBe(true)
    expect(() => Object.assign(request, { token: 'other' })).toThrow(TypeError)
    expect(request.token).toBe(TOKEN)
  })

  test.each([
    ['', []],
    ['openid', ['openid']],
    ['  openid \t db  ', ['openid', 'db']],
    ['a,b', ['a,b']],
  ])('splits the scope %j at blanks', (scope, list) => {
    expect(createValidationRequest({ ...INPUT, scope }, CONNECTION).scope).toEqual(list)
  })
})
