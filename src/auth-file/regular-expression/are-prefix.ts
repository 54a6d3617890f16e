/**
 * What an expression says of itself before it begins: `***` and `(?letters)` (`regc_lex.c: prefixes()`).
 *
 * @module
 */
import { AreSyntaxError, AreUnsupportedError } from './are-node.ts'

/** What the options at the start of an expression ask for. */
export interface AreOptions {
  readonly ignoreCase: boolean
  /** `.` and `[^…]` do not match a newline (REG_NLSTOP). */
  readonly newlineStops: boolean
  /** `^` and `$` also match around newlines (REG_NLANCH). */
  readonly newlineAnchors: boolean
}

/** The prefix of an expression, read. */
export interface ArePrefix {
  /** Where the expression itself begins. */
  readonly length: number
  /** The rest is no expression but a text to look for. */
  readonly literal: boolean
  /** Blanks and comments between words mean nothing. */
  readonly expanded: boolean
  readonly options: AreOptions
}

const PLAIN: AreOptions = { ignoreCase: false, newlineStops: false, newlineAnchors: false }

/** @throws {@link AreSyntaxError}, and {@link AreUnsupportedError} for other flavours. */
export function readPrefix(text: string): ArePrefix {
  let start = 0
  if (text.startsWith('***') && text.length > 3) {
    start = 4
    switch (text.charAt(3)) {
      case '=':
        return { length: start, literal: true, expanded: false, options: PLAIN }
      case ':':
        break
      case '?':
        throw new AreSyntaxError('invalid regexp (reg version 0.8)')
      default:
        throw new AreSyntaxError('quantifier operand invalid')
    }
  }
  const [opening, letters] = /^\(\?([a-zA-Z]+)/.exec(text.slice(start)) ?? []
  if (opening === undefined || letters === undefined) {
    return { length: start, literal: false, expanded: false, options: PLAIN }
  }
  const read = readLetters(letters)
  const end = start + opening.length
  if (text[end] !== ')') {
    throw new AreSyntaxError('invalid embedded option')
  }
  return { length: end + 1, ...read }
}

function readLetters(letters: string): Omit<ArePrefix, 'length'> {
  let flavour: 'advanced' | 'extended' | 'basic' | 'literal' = 'advanced'
  let expanded = false
  let { ignoreCase, newlineStops, newlineAnchors } = PLAIN
  for (const letter of letters) {
    switch (letter) {
      case 'b':
        flavour = 'basic'
        break
      case 'e':
        flavour = 'extended'
        break
      case 'q':
        flavour = 'literal'
        break
      case 'c':
      case 'i':
        ignoreCase = letter === 'i'
        break
      case 'm':
      case 'n':
      case 'p':
      case 's':
      case 'w':
        newlineStops = letter !== 's' && letter !== 'w'
        newlineAnchors = letter !== 's' && letter !== 'p'
        break
      case 't':
      case 'x':
        expanded = letter === 'x'
        break
      default:
        throw new AreSyntaxError('invalid embedded option')
    }
  }

  if (flavour === 'basic' || flavour === 'extended') {
    throw new AreUnsupportedError(`pgbearer does not read ${flavour} regular expressions`)
  }
  return flavour === 'literal'
    ? { literal: true, expanded: false, options: { ...PLAIN, ignoreCase } }
    : { literal: false, expanded, options: { ignoreCase, newlineStops, newlineAnchors } }
}
