/**
 * Advanced Regular Expressions as trees (`regcomp.c`), with PostgreSQL's errors in its order.
 *
 * @module
 */
import { AreLexer } from './are-lexer.ts'
import { type Are, type AreNode, AreSyntaxError, AreUnsupportedError } from './are-node.ts'
import type { AreToken } from './are-token.ts'
import { type ByteSet, byteRanges, complement, foldCase, union, without } from './byte-set.ts'
import { CHARACTER_CLASSES, COLLATING_ELEMENTS } from './character-classes.ts'

/** Groups within groups beyond this are refused, so that nothing here can run out of stack. */
export const MAX_ARE_DEPTH = 200

// DUPMAX
const MAX_REPEAT = 255
const NEWLINE = 0x0a
const ANY = byteRanges([0, 255])

/**
 * Reads an expression.
 *
 * @throws {@link AreSyntaxError} with PostgreSQL's text; {@link AreUnsupportedError} for what we
 * cannot even read.
 */
export function parseAre(source: string): Are {
  return new AreParser(source).parse()
}

class AreParser {
  readonly #lexer: AreLexer
  #token: AreToken
  readonly #closed = new Set<number>()

  constructor(source: string) {
    this.#lexer = new AreLexer(source)
    this.#token = this.#lexer.next()
  }

  parse(): Are {
    const root = this.#alternatives('end', false, 0)
    return { root, groups: this.#lexer.groups }
  }

  #next(): void {
    this.#token = this.#lexer.next()
  }

  #alternatives(stop: 'end' | ')', inLookaround: boolean, depth: number): AreNode {
    if (depth > MAX_ARE_DEPTH) {
      throw new AreUnsupportedError(`more than ${MAX_ARE_DEPTH} groups within each other`)
    }
    const branches = [this.#branch(stop, inLookaround, depth)]
    while (this.#token.type === '|') {
      this.#next()
      branches.push(this.#branch(stop, inLookaround, depth))
    }
    if (this.#token.type !== stop) {
      throw new AreSyntaxError('parentheses () not balanced')
    }
    const [only] = branches
    return branches.length === 1 && only !== undefined ? only : { type: 'alternate', branches }
  }

  #branch(stop: 'end' | ')', inLookaround: boolean, depth: number): AreNode {
    const items: AreNode[] = []
    while (this.#token.type !== '|' && this.#token.type !== stop && this.#token.type !== 'end') {
      items.push(this.#quantifiedAtom(inLookaround, depth))
    }
    return { type: 'concat', items }
  }

  #quantifiedAtom(inLookaround: boolean, depth: number): AreNode {
    const token = this.#token
    switch (token.type) {
      case 'assertion':
        this.#next()
        return { type: 'assertion', assertion: token.assertion }
      case 'lookaround':
        this.#next()
        this.#alternatives(')', true, depth + 1)
        this.#next()
        return { type: 'lookaround' }
      default:
        return this.#quantified(this.#atom(inLookaround, depth))
    }
  }

  #atom(inLookaround: boolean, depth: number): AreNode {
    const token = this.#token
    const { ignoreCase, newlineStops } = this.#lexer.options
    switch (token.type) {
      case 'plain':
        this.#next()
        return this.#set(byteRanges([token.code, token.code]))
      case 'class':
        this.#next()
        return { type: 'set', set: token.set }
      case '.':
        this.#next()
        return { type: 'set', set: newlineStops ? without(ANY, NEWLINE) : ANY }
      case '[': {
        const set = this.#bracket(ignoreCase)
        const negated = newlineStops ? without(complement(set), NEWLINE) : complement(set)
        return { type: 'set', set: token.negated ? negated : set }
      }
      case '(':
        return this.#group(token.captures && !inLookaround, inLookaround, depth)
      case 'back-reference':
        if (inLookaround || !this.#closed.has(token.group)) {
          throw new AreSyntaxError('invalid backreference number')
        }
        this.#next()
        return { type: 'back-reference' }
      case ')':
        throw new AreSyntaxError('parentheses () not balanced')
      default:
        // A quantifier without anything before it.
        throw new AreSyntaxError('quantifier operand invalid')
    }
  }

  #set(set: ByteSet): AreNode {
    return { type: 'set', set: this.#lexer.options.ignoreCase ? foldCase(set) : set }
  }

  #group(captures: boolean, inLookaround: boolean, depth: number): AreNode {
    const capture = captures ? ++this.#lexer.groups : undefined
    this.#next()
    const child = this.#alternatives(')', inLookaround, depth + 1)
    this.#next()
    if (capture !== undefined) {
      this.#closed.add(capture)
    }
    return { type: 'group', capture, child }
  }

  #quantified(child: AreNode): AreNode {
    const token = this.#token
    switch (token.type) {
      case '*':
      case '+':
      case '?': {
        this.#next()
        const prefers = token.greedy ? 'longest' : 'shortest'
        const min = token.type === '+' ? 1 : 0
        return { type: 'repeat', child, min, max: token.type === '?' ? 1 : Infinity, prefers }
      }
      case 'bound':
        return this.#bounded(child)
      default:
        return child
    }
  }

  #bounded(child: AreNode): AreNode {
    this.#next()
    const min = this.#number()
    let max = min
    let hasPreference = false
    if (this.#see(',')) {
      this.#next()
      max = this.#see('digit') ? this.#number() : Infinity
      hasPreference = true
    }
    const token = this.#token
    if (min > max || token.type !== '}') {
      throw new AreSyntaxError('invalid repetition count(s)')
    }
    this.#next()
    const preference = token.greedy ? 'longest' : 'shortest'
    return { type: 'repeat', child, min, max, prefers: hasPreference ? preference : undefined }
  }

  #see(type: AreToken['type']): boolean {
    return this.#token.type === type
  }

  // scannum()
  #number(): number {
    let value = 0
    while (this.#token.type === 'digit' && value < MAX_REPEAT) {
      value = value * 10 + this.#token.value
      this.#next()
    }
    if (this.#token.type === 'digit' || value > MAX_REPEAT) {
      throw new AreSyntaxError('invalid repetition count(s)')
    }
    return value
  }

  #bracket(ignoreCase: boolean): ByteSet {
    this.#next()
    const parts: ByteSet[] = []
    while (this.#token.type !== ']') {
      parts.push(this.#bracketPart(ignoreCase))
    }
    this.#next()
    return union(...parts)
  }

  // brackpart()
  #bracketPart(ignoreCase: boolean): ByteSet {
    const token = this.#token
    switch (token.type) {
      case 'class':
        this.#next()
        return token.set
      case '[=': {
        const code = this.#element()
        return this.#caseless(byteRanges([code, code]), ignoreCase)
      }
      case '[:':
        return this.#namedClass(ignoreCase)
      case 'plain':
      case '[.': {
        const first = this.#rangeEnd()
        if (!this.#see('range')) {
          return this.#caseless(byteRanges([first, first]), ignoreCase)
        }
        this.#next()
        const last = this.#rangeEnd()
        if (first > last) {
          throw new AreSyntaxError('invalid character range')
        }
        return this.#caseless(byteRanges([first, last]), ignoreCase)
      }
      default:
        throw new AreSyntaxError('invalid character range')
    }
  }

  #caseless(set: ByteSet, ignoreCase: boolean): ByteSet {
    return ignoreCase ? foldCase(set) : set
  }

  #rangeEnd(): number {
    const token = this.#token
    switch (token.type) {
      case 'plain':
        this.#next()
        return token.code
      case 'range':
        this.#next()
        return '-'.charCodeAt(0)
      case '[.':
        return this.#element()
      default:
        throw new AreSyntaxError('invalid character range')
    }
  }

  #element(): number {
    const name = this.#name()
    const code = name.length === 1 ? name.charCodeAt(0) : COLLATING_ELEMENTS.get(name)
    if (code === undefined) {
      throw new AreSyntaxError('invalid collating element')
    }
    return code
  }

  #namedClass(ignoreCase: boolean): ByteSet {
    const name = this.#name()
    const cased = name === 'lower' || name === 'upper'
    const set = CHARACTER_CLASSES.get(ignoreCase && cased ? 'alpha' : name)
    if (set === undefined) {
      throw new AreSyntaxError('invalid character class')
    }
    return set
  }

  // scanplain()
  #name(): string {
    const start = this.#lexer.position
    this.#next()
    let end = start
    while (this.#token.type === 'plain') {
      end = this.#lexer.position
      this.#next()
    }
    this.#next()
    return this.#lexer.slice(start, end)
  }
}
