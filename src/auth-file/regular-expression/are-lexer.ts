/**
 * Words of an Advanced Regular Expression (`regc_lex.c`).
 *
 * The lexer is pulled one word at a time, because what digits after a backslash mean depends on the
 * groups that the parser has closed so far.
 *
 * @module
 */
import { AreSyntaxError } from './are-node.ts'
import { type AreOptions, readPrefix } from './are-prefix.ts'
import { type AreToken, assertion, ESCAPES, plain } from './are-token.ts'

type Context = 'expression' | 'literal' | 'bound' | 'bracket' | '[.' | '[=' | '[:'

const SPACE = /[\t-\r ]/

export class AreLexer {
  readonly #text: string
  #at: number
  #context: Context
  readonly #expanded: boolean
  #last: AreToken['type'] | undefined
  readonly options: AreOptions
  /** Number of groups opened so far; kept by the parser. */
  groups = 0

  /** @throws as {@link readPrefix} does. */
  constructor(text: string) {
    const { length, literal, expanded, options } = readPrefix(text)
    this.#text = text
    this.#at = length
    this.#context = literal ? 'literal' : 'expression'
    this.#expanded = expanded
    this.options = options
  }

  /** Where the next character is; names in brackets are cut out of the text. */
  get position(): number {
    return this.#at
  }

  slice(from: number, to: number): string {
    return this.#text.slice(from, to)
  }

  next(): AreToken {
    const token = this.#next()
    this.#last = token.type
    return token
  }

  #next(): AreToken {
    for (;;) {
      if (this.#expanded && (this.#context === 'expression' || this.#context === 'bound')) {
        this.#skipBlanksAndComments()
      }
      if (this.#at >= this.#text.length) {
        return this.#end()
      }
      const character = this.#take()
      switch (this.#context) {
        case 'literal':
          return plain(character)
        case 'bound':
          return this.#bound(character)
        case 'bracket':
          return this.#bracket(character)
        case '[.':
        case '[=':
        case '[:':
          return this.#name(character, this.#context)
        case 'expression': {
          const token = this.#expression(character)
          if (token !== undefined) {
            return token
          }
        }
      }
    }
  }

  #take(): string {
    return this.#text[this.#at++] ?? ''
  }

  #takeIf(character: string): boolean {
    const found = this.#text[this.#at] === character
    this.#at += found ? 1 : 0
    return found
  }

  #end(): AreToken {
    switch (this.#context) {
      case 'expression':
      case 'literal':
        return { type: 'end' }
      case 'bound':
        throw new AreSyntaxError('braces {} not balanced')
      default:
        throw new AreSyntaxError('brackets [] not balanced')
    }
  }

  #skipBlanksAndComments(): void {
    for (;;) {
      while (SPACE.test(this.#text[this.#at] ?? '')) {
        this.#at++
      }
      if (this.#text[this.#at] !== '#') {
        return
      }
      const newline = this.#text.indexOf('\n', this.#at)
      this.#at = newline === -1 ? this.#text.length : newline
    }
  }

  #bound(character: string): AreToken {
    if (character >= '0' && character <= '9') {
      return { type: 'digit', value: Number(character) }
    }
    if (character === ',') {
      return { type: ',' }
    }
    if (character !== '}') {
      throw new AreSyntaxError('invalid repetition count(s)')
    }
    this.#context = 'expression'
    return { type: '}', greedy: !this.#takeIf('?') }
  }

  #bracket(character: string): AreToken {
    switch (character) {
      case ']':
        if (this.#last === '[') {
          return plain(character)
        }
        this.#context = 'expression'
        return { type: ']' }
      case '\\': {
        const token = this.#at < this.#text.length ? this.#escape() : undefined
        if (token?.type !== 'plain' && token?.type !== 'class') {
          throw new AreSyntaxError('invalid escape \\ sequence')
        }
        return token
      }
      case '-':
        return this.#last === '[' || this.#text[this.#at] === ']'
          ? plain(character)
          : { type: 'range' }
      case '[':
        return this.#bracketName()
      default:
        return plain(character)
    }
  }

  #bracketName(): AreToken {
    const kind = this.#text[this.#at]
    if (kind === undefined) {
      throw new AreSyntaxError('brackets [] not balanced')
    }
    if (kind !== '.' && kind !== '=' && kind !== ':') {
      return plain('[')
    }
    this.#at++
    this.#context = `[${kind}`
    return { type: `[${kind}` }
  }

  #name(character: string, context: '[.' | '[=' | '[:'): AreToken {
    if (character === context[1] && this.#takeIf(']')) {
      this.#context = 'bracket'
      return { type: 'name-end' }
    }
    return plain(character)
  }

  /** Undefined after a comment. */
  #expression(character: string): AreToken | undefined {
    switch (character) {
      case '|':
      case ')':
      case '.':
        return { type: character }
      case '*':
      case '+':
      case '?':
        return { type: character, greedy: !this.#takeIf('?') }
      case '{':
        return this.#brace()
      case '(':
        return this.#takeIf('?') ? this.#extendedGroup() : { type: '(', captures: true }
      case '[':
        return this.#openBracket()
      case '^':
        return assertion(this.options.newlineAnchors ? 'line-start' : 'text-start')
      case '$':
        return assertion(this.options.newlineAnchors ? 'line-end' : 'text-end')
      case '\\':
        if (this.#at >= this.#text.length) {
          throw new AreSyntaxError('invalid escape \\ sequence')
        }
        return this.#escape()
      default:
        return plain(character)
    }
  }

  #brace(): AreToken {
    if (this.#expanded) {
      this.#skipBlanksAndComments()
    }
    if (!/[0-9]/.test(this.#text[this.#at] ?? '')) {
      return plain('{')
    }
    this.#context = 'bound'
    return { type: 'bound' }
  }

  #extendedGroup(): AreToken | undefined {
    switch (this.#take()) {
      case ':':
        return { type: '(', captures: false }
      case '#': {
        const close = this.#text.indexOf(')', this.#at)
        this.#at = close === -1 ? this.#text.length : close + 1
        return undefined
      }
      case '=':
      case '!':
        return { type: 'lookaround' }
      case '<':
        if (this.#takeIf('=') || this.#takeIf('!')) {
          return { type: 'lookaround' }
        }
        break
      default:
        break
    }
    throw new AreSyntaxError('quantifier operand invalid')
  }

  #openBracket(): AreToken {
    for (const [text, place] of [
      ['[:<:]]', 'word-start'],
      ['[:>:]]', 'word-end'],
    ] as const) {
      if (this.#text.startsWith(text, this.#at)) {
        this.#at += text.length
        return assertion(place)
      }
    }
    this.#context = 'bracket'
    return { type: '[', negated: this.#takeIf('^') }
  }

  // lexescape(), after the backslash.
  #escape(): AreToken {
    const character = this.#take()
    if (!/[a-zA-Z0-9]/.test(character)) {
      return plain(character)
    }
    const simple = ESCAPES[character]
    if (simple !== undefined) {
      return simple
    }
    switch (character) {
      case 'c':
        if (this.#at >= this.#text.length) {
          break
        }
        return { type: 'plain', code: this.#take().charCodeAt(0) & 0x1f }
      case 'u':
        return this.#code(4, 4)
      case 'U':
        return this.#code(8, 8)
      case 'x':
        return this.#code(1, 255)
      default:
        if (/[0-9]/.test(character)) {
          return this.#digits()
        }
    }
    throw new AreSyntaxError('invalid escape \\ sequence')
  }

  #code(least: number, most: number): AreToken {
    const code = this.#number(16, least, most)
    // CHR_MAX
    if (code > 0x7fff_fffe) {
      throw new AreSyntaxError('invalid escape \\ sequence')
    }
    return { type: 'plain', code }
  }

  // One digit is always a back-reference; more are one if there are so many groups, else octal.
  #digits(): AreToken {
    const first = --this.#at
    if (this.#text[first] !== '0') {
      const group = this.#number(10, 1, 255)
      if (this.#at === first + 1 || (group > 0 && group <= this.groups)) {
        return { type: 'back-reference', group }
      }
      this.#at = first
    }
    let code = this.#number(8, 1, 3)
    if (code > 0xff) {
      this.#at--
      code >>= 3
    }
    return { type: 'plain', code }
  }

  // lexdigits(): wraps at 32 bits.
  #number(base: 8 | 10 | 16, least: number, most: number): number {
    let value = 0
    let length = 0
    for (; length < most; length++) {
      const digit = Number.parseInt(this.#text[this.#at] ?? '', base)
      if (Number.isNaN(digit)) {
        break
      }
      value = (value * base + digit) % 2 ** 32
      this.#at++
    }
    if (length < least) {
      throw new AreSyntaxError('invalid escape \\ sequence')
    }
    return value
  }
}
