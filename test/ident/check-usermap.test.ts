import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { ByteString } from '../../src/byte-string.ts'
import { ConfigFileError } from '../../src/errors.ts'
import { checkUsermap, type UsermapAnswer } from '../../src/ident/check-usermap.ts'
import { parseIdentRecords } from '../../src/ident/load-ident-file.ts'
import { records } from '../hba/hba-text.ts'

function check(text: string, systemUser: string, role: string, map = 'm'): UsermapAnswer {
  const { lines, errors } = parseIdentRecords(records(text))
  expect(errors).toEqual([])
  return checkUsermap({
    lines,
    map: map as ByteString,
    systemUser: systemUser as ByteString,
    role: role as ByteString,
  })
}

describe('the log says', () => {
  test('which name is which where there is no map, or an empty one', () => {
    const expected = {
      ok: false,
      sqlState: '00000',
      message: 'provided user name (ann) and authenticated user name (bob) do not match',
      reason: 'usermap_mismatch',
    }
    expect(check('', 'bob', 'ann', '')).toEqual(expected)
    expect(
      checkUsermap({
        lines: [],
        map: undefined,
        systemUser: 'bob' as ByteString,
        role: 'ann' as ByteString,
      }),
    ).toEqual(expected)
  })

  test('that a map has no line, or is not there', () => {
    for (const map of ['m', 'nomap']) {
      expect(check('m a b', 'a', 'c', map)).toEqual({
        ok: false,
        sqlState: '00000',
        message: `no match in usermap "${map}" for user "c" authenticated as "a"`,
        reason: 'usermap_no_match',
      })
    }
  })

  test('that there is no group to put in, and looks no further', () => {
    expect(check('m /^a x\\1\nm a xa', 'a', 'xa')).toEqual({
      ok: false,
      sqlState: '2201B',
      message:
        'regular expression "^a" has no subexpressions as requested by backreference in "x\\1"',
      reason: 'usermap_regex_error',
    })
  })
})

describe('a group', () => {
  test.each([
    ['$&', '$&'],
    ['\\1', '\\1'],
    ['all', 'all'],
    ['', ''],
  ])('of the text %j is put in as it is', (identity, role) => {
    expect(check('m /^(.*)$ \\1', identity, role).ok).toBe(true)
  })

  test('takes every place', () => {
    expect(check('m /^(.)$ \\1-\\1\\1', 'x', 'x-xx').ok).toBe(true)
    expect(check('m /^(.)$ \\1-\\2', 'x', 'x-\\2').ok).toBe(true)
  })
})

test('a member check without memberships allows nobody', () => {
  expect(check('m ann +dev', 'ann', 'dev').ok).toBe(false)
})

test('a line with + is an error where there are no memberships', () => {
  const { errors } = parseIdentRecords(records('m ann +dev\nm ann "+dev"'), { memberships: 'none' })
  expect(errors.map(({ line, message }) => [line, message])).toEqual([
    [1, '"+dev" needs role memberships, and no source of them is set'],
  ])
})

const WORDS = [
  'm',
  'm',
  'a',
  'all',
  '+a',
  '/^(.*)@',
  '/(',
  '/',
  '\\1',
  '/\\1',
  '"x y"',
  ',',
  'a,b',
  '/a*',
]

test('no words make it throw anything but its own errors', () => {
  const word = fc.constantFrom(...WORDS)
  const name = fc.constantFrom('a', 'a@', '', 'x y', 'all', '\xff', '\\1')
  fc.assert(
    fc.property(fc.array(word, { maxLength: 9 }), name, name, (words, systemUser, role) => {
      const { lines, errors } = parseIdentRecords(records(words.join(' ')))
      expect(errors.every((error) => error instanceof ConfigFileError)).toBe(true)
      const answer = checkUsermap({
        lines,
        map: 'm' as ByteString,
        systemUser: systemUser as ByteString,
        role: role as ByteString,
      })
      expect(typeof answer.ok).toBe('boolean')
    }),
    { numRuns: 1000 },
  )
})
