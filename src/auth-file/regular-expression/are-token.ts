/**
 * The words of an Advanced Regular Expression.
 *
 * @module
 */
import type { AreAssertion } from './are-node.ts'
import { type ByteSet, complement } from './byte-set.ts'
import { ESCAPE_CLASSES } from './character-classes.ts'

/** A word, as the lexer hands it to the parser. */
export type AreToken =
  | { readonly type: 'end' | '|' | ')' | '.' | ',' | ']' | 'range' | 'bound' }
  /** One character, as its code; above 255 it can never match. */
  | { readonly type: 'plain'; readonly code: number }
  | { readonly type: 'class'; readonly set: ByteSet }
  | { readonly type: '('; readonly captures: boolean }
  | { readonly type: 'lookaround' }
  | { readonly type: '['; readonly negated: boolean }
  | { readonly type: '[.' | '[=' | '[:' | 'name-end' }
  | { readonly type: '*' | '+' | '?' | '}'; readonly greedy: boolean }
  | { readonly type: 'digit'; readonly value: number }
  | { readonly type: 'assertion'; readonly assertion: AreAssertion }
  | { readonly type: 'back-reference'; readonly group: number }

/** The character itself. */
export function plain(character: string): AreToken {
  return { type: 'plain', code: character.charCodeAt(0) }
}

/** A place without length. */
export function assertion(place: AreAssertion): AreToken {
  return { type: 'assertion', assertion: place }
}

/** What a letter after a backslash stands for, where nothing has to be read after it. */
export const ESCAPES: Readonly<Record<string, AreToken | undefined>> = Object.assign(
  Object.create(null),
  {
    a: plain('\u0007'),
    b: plain('\b'),
    B: plain('\\'),
    e: plain('\u001b'),
    f: plain('\f'),
    n: plain('\n'),
    r: plain('\r'),
    t: plain('\t'),
    v: plain('\v'),
    d: { type: 'class', set: ESCAPE_CLASSES.d },
    D: { type: 'class', set: complement(ESCAPE_CLASSES.d) },
    s: { type: 'class', set: ESCAPE_CLASSES.s },
    S: { type: 'class', set: complement(ESCAPE_CLASSES.s) },
    w: { type: 'class', set: ESCAPE_CLASSES.w },
    W: { type: 'class', set: complement(ESCAPE_CLASSES.w) },
    A: assertion('text-start'),
    m: assertion('word-start'),
    M: assertion('word-end'),
    y: assertion('word-boundary'),
    Y: assertion('not-word-boundary'),
    Z: assertion('text-end'),
  },
)
