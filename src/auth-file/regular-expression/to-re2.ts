/**
 * A parsed expression in RE2's words, and only those that both flavours read alike: explicit sets of
 * bytes, groups, repetition and anchors.
 *
 * @module
 */
import { type AreAssertion, type AreNode, AreUnsupportedError } from './are-node.ts'
import { type ByteSet, rangesOf } from './byte-set.ts'

/**
 * The pattern for RE2. Of the groups only the first captures: no rule or map asks for another.
 *
 * @throws {@link AreUnsupportedError} for what RE2 cannot do in linear time.
 */
export function toRe2(node: AreNode): string {
  switch (node.type) {
    case 'set':
      return setPattern(node.set)
    case 'concat':
      return node.items.map(toRe2).join('')
    case 'alternate':
      return `(?:${node.branches.map(toRe2).join('|')})`
    case 'group':
      return `${node.capture === 1 ? '(' : '(?:'}${toRe2(node.child)})`
    case 'repeat':
      return repeatPattern(node)
    case 'assertion':
      return assertionPattern(node.assertion)
    case 'lookaround':
      throw new AreUnsupportedError('pgbearer has no look-ahead and look-behind constraints')
    case 'back-reference':
      throw new AreUnsupportedError('pgbearer has no back-references')
  }
}

function setPattern(set: ByteSet): string {
  const ranges = rangesOf(set)
  if (ranges.length === 0) {
    return '[^\\x{0}-\\x{10FFFF}]'
  }
  const parts = ranges.map(([first, last]) =>
    first === last ? codePattern(first) : `${codePattern(first)}-${codePattern(last)}`,
  )
  const [only] = ranges
  return ranges.length === 1 && only?.[0] === only?.[1] ? parts.join('') : `[${parts.join('')}]`
}

function codePattern(code: number): string {
  return `\\x{${code.toString(16)}}`
}

function repeatPattern({ child, min, max, prefers }: AreNode & { type: 'repeat' }): string {
  // {0} cancels what it stands after, groups included.
  if (max === 0) {
    return '(?:)'
  }
  const pattern = `(?:${toRe2(child)})`
  const lazy = prefers === 'shortest' ? '?' : ''
  if (max === Infinity && min < 2) {
    return `${pattern}${min === 0 ? '*' : '+'}${lazy}`
  }
  if (min === 1 && max === 1) {
    return pattern
  }
  return `${pattern}{${min}${max === min ? '' : `,${max === Infinity ? '' : max}`}}${lazy}`
}

function assertionPattern(assertion: AreAssertion): string {
  switch (assertion) {
    case 'text-start':
      return '\\A'
    case 'text-end':
      return '\\z'
    case 'line-start':
      return '(?m:^)'
    case 'line-end':
      return '(?m:$)'
    case 'word-boundary':
      return '\\b'
    case 'not-word-boundary':
      return '\\B'
    case 'word-start':
    case 'word-end':
      throw new AreUnsupportedError(
        'pgbearer has no \\m, \\M, [[:<:]] and [[:>:]]; \\y matches at both ends of a word',
      )
  }
}
