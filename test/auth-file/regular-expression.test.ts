import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import {
  compileRegularExpression,
  type RegularExpression,
} from '../../src/auth-file/regular-expression.ts'
import type { ByteString } from '../../src/byte-string.ts'

function compiled(source: string): RegularExpression {
  const result = compileRegularExpression(source as ByteString)
  if (!result.ok) {
    throw new Error(result.message)
  }
  return result.expression
}

function reason(source: string): string {
  const result = compileRegularExpression(source as ByteString)
  return result.ok ? 'none' : result.message.slice(result.message.lastIndexOf('": ') + 3)
}

describe('an expression finds', () => {
  test.each([
    ['', 'anything'],
    ['b', 'abc'],
    ['^..$', '\xc3\xa9'],
    ['(?i)ALICE', 'alice'],
    ['(?i)[a-c]+$', 'ABC'],
    ['***:a|b', 'b'],
    ['***=a.b', 'xa.bx'],
    ['(?q)a+b', 'a+b'],
    ['(?x) a b # c', 'ab'],
    ['(?n)^b$', 'a\nb\nc'],
    ['[[:alpha:]_]', '_'],
    ['[]-a]', '^'],
    ['[a\\]]', ']'],
    ['[[.hyphen.]]', '-'],
    ['\\yb\\y', 'a b c'],
    ['a\\Z', 'ba'],
    ['\\u0061\\x62\\143', 'abc'],
    ['a{', 'a{'],
    ['\\B', 'a\\b'],
    ['[[:cntrl:]]', '\x85'],
  ])('%j in %j', (source, text) => {
    expect(compiled(source).test(text as ByteString)).toBe(true)
  })
})

describe('an expression does not find', () => {
  test.each([
    ['^.$', '\xc3\xa9'],
    ['[[:alpha:]]', '\xe9'],
    ['(?i)\xe9', '\xc9'],
    ['(?i)k', '\u212a'],
    ['^b$', 'a\nb\nc'],
    ['a$', 'a\n'],
    ['(?n)a.b', 'a\nb'],
    ['(?n)^[^a]$', 'aa'],
    ['***=a.b', 'axb'],
    ['\\u0100', 'a'],
    ['[^\\w]', 'a_1'],
    ['\\d', '\xb2'],
    ['\\s', '\xa0'],
    ['(?x)a b', 'a b'],
  ])('%j in %j', (source, text) => {
    expect(compiled(source).test(text as ByteString)).toBe(false)
  })
})

describe('an expression is refused', () => {
  test.each([
    ['(', 'parentheses () not balanced'],
    [')', 'parentheses () not balanced'],
    ['[', 'brackets [] not balanced'],
    ['[[:alpha:', 'brackets [] not balanced'],
    ['a{1', 'braces {} not balanced'],
    ['*', 'quantifier operand invalid'],
    ['a**', 'quantifier operand invalid'],
    ['^*', 'quantifier operand invalid'],
    ['(?P<n>a)', 'invalid embedded option'],
    ['b(?P<n>a)', 'quantifier operand invalid'],
    ['(?<n>a)', 'quantifier operand invalid'],
    ['a(?i)', 'quantifier operand invalid'],
    ['(?i:a)', 'invalid embedded option'],
    ['(?-i)a', 'quantifier operand invalid'],
    ['a{2,1}', 'invalid repetition count(s)'],
    ['a{256}', 'invalid repetition count(s)'],
    ['[b-a]', 'invalid character range'],
    ['[a-\\d]', 'invalid character range'],
    ['[[:word1:]]', 'invalid character class'],
    ['[[.ab.]]', 'invalid collating element'],
    ['\\', 'invalid escape \\ sequence'],
    ['\\pL', 'invalid escape \\ sequence'],
    ['\\Qa', 'invalid escape \\ sequence'],
    ['[\\A]', 'invalid escape \\ sequence'],
    ['\\1', 'invalid backreference number'],
    ['(a\\1)', 'invalid backreference number'],
    ['***?', 'invalid regexp (reg version 0.8)'],
    ['(?z)', 'invalid embedded option'],
    ['(a)\\1', 'pgbearer has no back-references'],
    ['a(?=b)', 'pgbearer has no look-ahead and look-behind constraints'],
    ['(?<!a)b', 'pgbearer has no look-ahead and look-behind constraints'],
    ['\\mb', 'pgbearer has no \\m, \\M, [[:<:]] and [[:>:]]; \\y matches at both ends of a word'],
    [
      '[[:<:]]b',
      'pgbearer has no \\m, \\M, [[:<:]] and [[:>:]]; \\y matches at both ends of a word',
    ],
    ['(?b)a', 'pgbearer does not read basic regular expressions'],
    ['(?e)a', 'pgbearer does not read extended regular expressions'],
    ['(a{200}){200}', 'pgbearer cannot run so large an expression'],
  ])('%j: %s', (source, expected) => {
    expect(reason(source)).toBe(expected)
  })

  test('where its groups are too deep or its text too long', () => {
    expect(reason('('.repeat(300) + ')'.repeat(300))).toBe('more than 200 groups within each other')
    expect(reason('a'.repeat(20_000))).toBe('longer than 10000 bytes')
  })
})

describe('the first group', () => {
  test.each([
    ['^(.*)@x$', 'ann@x', 'ann'],
    ['^(.*)@(.*)$', 'a@b@c', 'a@b'],
    ['^(.*?)@.*$', 'a@b@c', 'a'],
    ['^([^@]+)@(corp|sub)\\.com$', 'ann@sub.com', 'ann'],
    ['^([a-z]+\\.[a-z]+)@(corp|sub)\\.com$', 'ann.lee@corp.com', 'ann.lee'],
    ['^(?:[^.]+\\.)*([^.]+)$', 'a.b.c', 'c'],
    ['^.*/([^/]+)$', '/x/y/z', 'z'],
    ['^DOM\\\\(.*)$', 'DOM\\ann', 'ann'],
    ['([a-z]+)@', 'x ann@y', 'ann'],
    ['^(alice|bob)@x$', 'bob@x', 'bob'],
    ['^(a)b$|^(c)d$', 'ab', 'a'],
    ['^((\\w+)-(dev|prod))-x$', 'app-dev-x', 'app-dev'],
    ['a(b?)', 'a', ''],
  ])('of %s in %s is %s', (source, text, group) => {
    const expression = compiled(source)
    expect(expression.hasExactGroup).toBe(true)
    expect(expression.firstGroup(text as ByteString)).toEqual({ matched: true, group })
  })

  test.each([
    ['^(a)b$|^(c)d$', 'cd'],
    ['abc', 'abc'],
    ['(?:a)', 'a'],
  ])('of %s in %s is missing', (source, text) => {
    expect(compiled(source).firstGroup(text as ByteString)).toEqual({
      matched: true,
      group: undefined,
    })
  })

  test.each([
    '^(a|ab)(b?)$',
    '^(a?(?:ab)?)(b?)$',
    '^(?:a|ab)(.*)$',
    '^(a)+b',
    '^(?:(a)b)$',
    '(.*?)@',
    '^(.+?)x|y$',
    '^([a-z]+\\.?[a-z]*)(b*)$',
  ])('of %s is not taken, because RE2 could cut it elsewhere', (source) => {
    expect(compiled(source).hasExactGroup).toBe(false)
  })
})

test('no text makes the compiler throw', () => {
  const piece = fc.oneof(
    fc.constantFrom(...'()[]{}|*+?^$.\\-:=<>!#,'.split(''), '(?', '[[:', '\\u', '***'),
    fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const source = pieces.join('') as ByteString
      const result = compileRegularExpression(source)
      expect(result.ok ? result.expression.test(source) : result.message.length > 0).toBeDefined()
    }),
    { numRuns: 2000 },
  )
})

test('the time of a search grows with the text, not with its square', () => {
  const expression = compiled('^(a|aa)*(a*)*[^x]*$')
  const seconds = (length: number): number => {
    const text = `${'a'.repeat(length)}x` as ByteString
    const start = process.cpuUsage()
    expect(expression.test(text)).toBe(false)
    const { user, system } = process.cpuUsage(start)
    return (user + system) / 1e6
  }
  seconds(10_000)
  // A backtracking search would not end at all; a quadratic one would take 10,000 times as long.
  expect(seconds(1_000_000)).toBeLessThan(20)
})
