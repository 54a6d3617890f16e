/** The same expressions and texts for a real PostgreSQL 18 and for us: error, match, first group. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { compileRegularExpression } from '../../src/auth-file/regular-expression.ts'
import { parseAre } from '../../src/auth-file/regular-expression/parse-are.ts'
import type { ByteString } from '../../src/byte-string.ts'
import { perFile } from '../support/per-file.ts'
import { startRealRules } from './real-rules.ts'
import { RUNS, SEED, TIMEOUT } from './runs.ts'

const PIECES = [
  ['a', 'b', 'c', 'ab', 'A', 'B', '.', '-', '_', '1', 'x', '@', ' ', '\n', '\xe9', '\xc3', '/'],
  [']', '}', ',', '#', '=', '\\.', '\\d', '\\w', '\\s', '\\D', '\\W', '\\S', '\\A', '\\Z'],
  ['\\m', '\\M', '\\y', '\\Y', '\\n', '\\e', '\\B', '\\b', '\\x41', '\\x', '\\u0061', '\\u00e9'],
  ['\\u0100', '\\10', '\\1', '\\0', '\\101', '\\777', '\\8', '\\cA', '\\q', '\\-', '\\\\', '\\'],
  ['^', '$', '[ab]', '[^a]', '[a-c]', '[A-Z]', '[]a]', '[^]a]', '[a-]', '[-a]', '[a\\]b]'],
  ['[\\w-]', '[\\W]', '[^\\W]', '[\\d]', '[a-\\d]', '[z-a]', '[^\n]', '[', '[[', '[a'],
  ['[[:alpha:]]', '[[:alnum:]_]', '[[:foo:]]', '[[:cntrl:]]', '[[:punct:]]', '[[:print:]]'],
  ['[[:alpha:]', '[[.a.]]', '[[.hyphen.]-a]', '[[.hyphen.]]', '[[=a=]b]', '[[:<:]]', '[[:>:]]'],
  ['(?=a)', '(?!a)', '(?<=a)', '(?<!b)', '(?#hi)', '(?:a|b)', '(a|ab)', '(b?)', '(.*)', '(.*?)'],
  ['(.+)', '([^@]+)', '()', '(|a)', '(a', '(', ')', '(a|b)*', '(a*)*', '(a*)+', '(a){0}'],
  ['{', '{1', '{a', 'a{2}', 'a{1,2}', 'a{,2}', 'a{2,1}', 'a{0}', 'a{256}', 'a{255}'],
].flat()
const QUANTIFIERS = ['', '', '', '', '*', '+', '?', '*?', '+?', '??', '{2}', '{1,2}?', '{1,}', '**']
const PREFIXES = [
  ['(?i)', '(?n)', '(?x)', '(?w)', '(?p)', '(?q)', '(?iq)', '(?s)', '(?m)', '(?ix)', '(?b)'],
  ['(?e)', '(?z)', '(?i', '***:', '***=', '***', '***?', '***x'],
].flat()

const glue = (parts: readonly (readonly string[])[] | readonly string[]): string =>
  parts.flat().join('')

const piece = fc.tuple(fc.constantFrom(...PIECES), fc.constantFrom(...QUANTIFIERS)).map(glue)
const anything = fc
  .array(fc.oneof({ weight: 8, arbitrary: piece }, fc.constant('|')), { maxLength: 6 })
  .map(glue)
const anyGroup = fc.tuple(anything, anything, anything).map(([a, b, c]) => `${a}(${b})${c}`)

// Groups as maps have them, in every way to divide a text.
const part = fc
  .array(
    fc
      .tuple(
        fc.constantFrom('a', 'b', 'c', '.', '[ab]', '[^a]', '(?:a|ab)', '(?:ab|c)', '@', '-'),
        fc.constantFrom('', '', '*', '+', '?', '*?', '+?', '??', '{1,2}'),
      )
      .map(glue),
    { maxLength: 3 },
  )
  .map(glue)
const plainGroup = fc
  .tuple(fc.constantFrom('', '^'), part, part, part, fc.constantFrom('', '$'))
  .map(([start, a, b, c, end]) => `${start}${a}(${b})${c}${end}`)

const expression = fc.oneof(
  fc.tuple(fc.constantFrom('', '', ...PREFIXES), fc.oneof(anything, anyGroup)).map(glue),
  plainGroup,
  plainGroup,
  fc.tuple(plainGroup, plainGroup).map(([a, b]) => `${a}|${b}`),
)

const CHARACTERS = 'aaabbcAB1.-_@@ \n\xe9\xc3x\x85{\\#'.split('')
const text = fc.array(fc.constantFrom(...CHARACTERS), { maxLength: 9 }).map(glue)
const questions = fc.array(fc.tuple(expression, text, text, text), {
  minLength: 50,
  maxLength: 50,
})

const real = perFile(async () => {
  const rules = await startRealRules()
  await rules.query(`create function answer(pattern text, input text) returns text
    language plpgsql as $$
    declare groups text[];
    begin
      if not (input ~ pattern) then return 'no'; end if;
      groups := regexp_match(input, pattern);
      return 'group ' || coalesce(encode(convert_to(groups[1], 'SQL_ASCII'), 'hex'), 'missing');
    exception when others then return sqlerrm;
    end $$`)
  return rules
})

const hex = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('hex')

type Pair = readonly [pattern: string, input: string]

async function realAnswers(pairs: readonly Pair[]): Promise<string[]> {
  const rows = await real().query(
    `select answer(convert_from(decode(p, 'hex'), 'SQL_ASCII'), convert_from(decode(t, 'hex'), 'SQL_ASCII'))
     from unnest($1::text[], $2::text[]) with ordinality as q(p, t, o) order by o`,
    [pairs.map(([pattern]) => hex(pattern)), pairs.map(([, input]) => hex(input))],
  )
  return rows.map(({ answer }) => String(answer))
}

/** True where our answer is PostgreSQL's, or an honest refusal. */
function agrees([pattern, input]: Pair, theirs: string): boolean {
  const compiled = compileRegularExpression(pattern as ByteString)
  if (!compiled.ok) {
    const reason = compiled.message.slice(compiled.message.lastIndexOf('": ') + 3)
    return reason.startsWith('pgbearer')
      ? !theirs.startsWith('invalid') || /basic|extended/.test(reason)
      : theirs === `invalid regular expression: ${reason}`
  }
  const { expression: own } = compiled
  const found = own.firstGroup(input as ByteString)
  if (own.test(input as ByteString) !== found.matched) {
    return false
  }
  if (!found.matched) {
    return theirs === 'no'
  }
  if (!own.hasExactGroup || parseAre(pattern).groups === 0) {
    return theirs.startsWith('group')
  }
  return theirs === `group ${found.group === undefined ? 'missing' : hex(found.group)}`
}

test(
  'finds what PostgreSQL finds, or refuses when rules load',
  async () => {
    await fc.assert(
      fc.asyncProperty(questions, async (asked) => {
        const pairs = asked.flatMap(([pattern, ...inputs]) =>
          inputs.map((input): Pair => [pattern, input]),
        )
        const theirs = await realAnswers(pairs)
        const wrong = pairs.filter((pair, at) => !agrees(pair, theirs[at] ?? ''))
        expect(wrong).toEqual([])
      }),
      { numRuns: Math.ceil(RUNS / 10), seed: SEED },
    )
  },
  TIMEOUT,
)
