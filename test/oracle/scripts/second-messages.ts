/** What comes behind the first message. */
import { Buffer } from 'node:buffer'
import {
  bytes,
  int32,
  kvsep,
  message,
  oauthBearer,
  saslResponse,
} from '../../support/wire-bytes.ts'
import { accept } from './rules.ts'
import { first, login, script, type Script, start } from './script.ts'

const SECONDS: readonly (readonly [string, Buffer])[] = [
  ['kvsep', saslResponse(kvsep)],
  ['nothing', saslResponse('')],
  ['two kvseps', saslResponse(`${kvsep}${kvsep}`)],
  ['a NUL', saslResponse('\0')],
  ['kvsep and a NUL', saslResponse(`${kvsep}\0`)],
  ['another byte', saslResponse('x')],
  ['a good token', saslResponse(oauthBearer(`Bearer ${accept('alice')}`))],
  ['another initial response', first(oauthBearer(`Bearer ${accept('alice')}`))],
  ['another type', message('Q', 'select 1\0')],
  ['Terminate', message('X')],
  ['an impossible frame', bytes('p', int32(2))],
  ['a frame that is too long', bytes('p', int32(65_536))],
  ['half a frame', bytes('p', int32(9), 'x')],
  ['kvsep and more behind it', bytes(saslResponse(kvsep), message('Q', 'select 1\0'))],
  ['nothing, and leaves', Buffer.alloc(0)],
]

export const seconds: readonly Script[] = SECONDS.flatMap(([name, second]) => [
  script(
    `behind a refused token: ${name}`,
    start('alice', 'plain'),
    first(oauthBearer('Bearer deny')),
    second,
  ),
  script(
    `behind a malformed token: ${name}`,
    start('alice', 'plain'),
    first(oauthBearer('Bearer ,')),
    second,
  ),
  script(`behind discovery: ${name}`, start('alice', 'plain'), first(oauthBearer('')), second),
  script(`behind an empty challenge: ${name}`, start('alice', 'plain'), first(), second),
])

export const challenged: readonly Script[] = (
  [
    ['discovery', oauthBearer('')],
    ['a good token', oauthBearer(`Bearer ${accept('alice')}`)],
    ['a refused one', oauthBearer('Bearer deny')],
    ['a lone kvsep', kvsep],
  ] as const
).map(([name, data]) =>
  script(
    `server first, then ${name}`,
    start('alice', 'plain'),
    first(),
    saslResponse(data),
    saslResponse(kvsep),
  ),
)

export const together: readonly Script[] = [
  script(
    'everything of a good login at once',
    bytes(start('alice', 'plain'), first(oauthBearer(`Bearer ${accept('alice')}`))),
  ),
  script('everything of a refused login at once', bytes(...(login('plain', 'deny') as Buffer[]))),
  script(
    'two tokens at once',
    bytes(
      start('alice', 'plain'),
      first(oauthBearer('Bearer deny')),
      first(oauthBearer(`Bearer ${accept('alice')}`)),
    ),
  ),
]
