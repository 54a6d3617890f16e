/**
 * Named characters and classes in the C collation (`regc_locale.c`, `pg_locale.c`).
 *
 * @module
 */
import { type ByteSet, byteRanges, union } from './byte-set.ts'

const DIGIT = byteRanges([0x30, 0x39])
const UPPER = byteRanges([0x41, 0x5a])
const LOWER = byteRanges([0x61, 0x7a])
const ALPHA = union(UPPER, LOWER)
const ALNUM = union(ALPHA, DIGIT)
const WORD = union(ALNUM, byteRanges([0x5f, 0x5f]))
const SPACE = byteRanges([0x09, 0x0d], [0x20, 0x20])

/** The classes of `[:name:]`. */
export const CHARACTER_CLASSES: ReadonlyMap<string, ByteSet> = new Map([
  ['alnum', ALNUM],
  ['alpha', ALPHA],
  ['ascii', byteRanges([0x00, 0x7f])],
  ['blank', byteRanges([0x09, 0x09], [0x20, 0x20])],
  // Hard-wired in PostgreSQL, whatever the collation says of bytes from 0x80.
  ['cntrl', byteRanges([0x00, 0x1f], [0x7f, 0x9f])],
  ['digit', DIGIT],
  ['graph', byteRanges([0x21, 0x7e])],
  ['lower', LOWER],
  ['print', byteRanges([0x20, 0x7e])],
  ['punct', byteRanges([0x21, 0x2f], [0x3a, 0x40], [0x5b, 0x60], [0x7b, 0x7e])],
  ['space', SPACE],
  ['upper', UPPER],
  ['xdigit', union(DIGIT, byteRanges([0x41, 0x46], [0x61, 0x66]))],
  ['word', WORD],
])

/** The classes of `\d`, `\s` and `\w`. */
export const ESCAPE_CLASSES = { d: DIGIT, s: SPACE, w: WORD } as const

const CONTROL_NAMES =
  'NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC IS4 IS3 IS2 IS1'

const OTHER_NAMES: Readonly<Record<string, string>> = {
  alert: '\u0007',
  backspace: '\b',
  tab: '\t',
  newline: '\n',
  'vertical-tab': '\v',
  'form-feed': '\f',
  'carriage-return': '\r',
  FS: '\u001c',
  GS: '\u001d',
  RS: '\u001e',
  US: '\u001f',
  space: ' ',
  'exclamation-mark': '!',
  'quotation-mark': '"',
  'number-sign': '#',
  'dollar-sign': '$',
  'percent-sign': '%',
  ampersand: '&',
  apostrophe: "'",
  'left-parenthesis': '(',
  'right-parenthesis': ')',
  asterisk: '*',
  'plus-sign': '+',
  comma: ',',
  hyphen: '-',
  'hyphen-minus': '-',
  period: '.',
  'full-stop': '.',
  slash: '/',
  solidus: '/',
  zero: '0',
  one: '1',
  two: '2',
  three: '3',
  four: '4',
  five: '5',
  six: '6',
  seven: '7',
  eight: '8',
  nine: '9',
  colon: ':',
  semicolon: ';',
  'less-than-sign': '<',
  'equals-sign': '=',
  'greater-than-sign': '>',
  'question-mark': '?',
  'commercial-at': '@',
  'left-square-bracket': '[',
  backslash: '\\',
  'reverse-solidus': '\\',
  'right-square-bracket': ']',
  circumflex: '^',
  'circumflex-accent': '^',
  underscore: '_',
  'low-line': '_',
  'grave-accent': '`',
  'left-brace': '{',
  'left-curly-bracket': '{',
  'vertical-line': '|',
  'right-brace': '}',
  'right-curly-bracket': '}',
  tilde: '~',
  DEL: '\u007f',
}

/** The characters of `[.name.]` and `[=name=]`, by their code. */
export const COLLATING_ELEMENTS: ReadonlyMap<string, number> = new Map([
  ...CONTROL_NAMES.split(' ').map((name, code): [string, number] => [name, code]),
  ...Object.entries(OTHER_NAMES).map(([name, character]): [string, number] => [
    name,
    character.charCodeAt(0),
  ]),
])
