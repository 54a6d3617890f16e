/** What comes before the login. */
import { Buffer } from 'node:buffer'
import {
  bytes,
  cancelRequest,
  gssencRequest,
  int32,
  oauthBearer,
  packet,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  startupMessage,
} from '../../support/wire-bytes.ts'
import { accept } from './rules.ts'
import { first, login, script, type Script, start } from './script.ts'

export const startups: readonly Script[] = [
  script('leaves at once', Buffer.alloc(0)),
  script('an HTTP request', bytes('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')),
  script('a length of 7', bytes(int32(7), 'abc')),
  script('a length of 10005', bytes(int32(10_005), int32(PROTOCOL_3_0))),
  script('half a startup packet', start('alice', 'plain').subarray(0, 15)),
  script('half a length word', bytes('\0\0')),
  script('GSSENCRequest', gssencRequest),
  script('GSSENCRequest twice', gssencRequest, gssencRequest),
  script('GSSENCRequest, then a login', gssencRequest, ...login('plain', accept('alice'))),
  script('a cancel request for nobody', cancelRequest(1, new Uint8Array(4))),
  script('a cancel request without a key', cancelRequest(1, new Uint8Array(0))),
  script('a cancel request with a key of 257', cancelRequest(1, new Uint8Array(257))),
  script('a cancel request without a process', packet(int32(80_877_102))),
  ...([0x0001_0000, 0x0002_0000, 0x0004_0000, 0, 1234 << 16, 80_877_101] as const).map((version) =>
    script(
      `protocol ${version >> 16}.${version & 0xffff}`,
      startupMessage({ user: 'alice' }, version),
    ),
  ),
  ...([1, 2, 3, 9999, 65_535] as const).map((minor) =>
    script(
      `protocol 3.${minor}`,
      startupMessage({ user: 'alice', database: 'plain' }, 0x0003_0000 | minor),
      first(oauthBearer(`Bearer ${accept('alice')}`)),
    ),
  ),
  script(
    'unknown protocol options',
    startupMessage(
      [
        ['user', 'alice'],
        ['_pq_.one', 'x'],
        ['database', 'plain'],
        ['_pq_.', ''],
        ['_pq_.é', 'y'],
        ['_pq', 'z'],
      ],
      PROTOCOL_3_2,
    ),
    first(oauthBearer('')),
  ),
  script('no user', startupMessage({ database: 'plain' })),
  script('an empty user', startupMessage({ user: '', database: 'plain' })),
  script('no database', startupMessage({ user: 'plain' }), first(oauthBearer(''))),
  script(
    'an empty database',
    startupMessage({ user: 'plain', database: '' }),
    first(oauthBearer('')),
  ),
  script('no database for the role', startupMessage({ user: 'nowhere' })),
  script(
    'a user twice',
    startupMessage([
      ['user', 'bob'],
      ['user', 'alice'],
      ['database', 'nowhere'],
    ]),
  ),
  script('no last NUL', packet(int32(PROTOCOL_3_0), 'user\0alice\0')),
  script('bytes behind the last NUL', packet(int32(PROTOCOL_3_0), 'user\0alice\0\0x')),
  script('a name without a value', packet(int32(PROTOCOL_3_0), 'user\0alice\0database\0')),
  script('nothing but the version', packet(int32(PROTOCOL_3_0))),
  script('an unended value', packet(int32(PROTOCOL_3_0), 'user\0alice')),
  ...['true', 'TRUE', 'on', 'o', '1', 'false', 'off', '0', 'database', 'Database', 'maybe', ''].map(
    (replication) =>
      script(`replication=${replication}`, start('alice', 'nowhere', { replication })),
  ),
  script(
    'physical replication',
    start('alice', 'plain', { replication: 'true' }),
    first(oauthBearer(`Bearer ${accept('alice')}`)),
  ),
  script('a role of 64 bytes', start('x'.repeat(64), 'nowhere')),
  script('a role cut inside a character', start(`${'x'.repeat(62)}é`, 'nowhere')),
  script('a database of 64 bytes', start('alice', 'y'.repeat(64))),
  script('a role with quotes', start(`a"b'c\\`, 'no"where')),
  script('a role with a line feed', start('a\nb', 'nowhere')),
  script(
    'an application name',
    start('alice', 'plain', { application_name: 'näme\tof\u0001' }),
    first(oauthBearer(`Bearer ${accept('alice')}`)),
  ),
  script(
    'a setting that is not one',
    start('alice', 'plain', { no_such_setting: 'x' }),
    first(oauthBearer(`Bearer ${accept('alice')}`)),
  ),
  script(
    'a setting in options',
    start('alice', 'plain', { options: '-c work_mem=1MB' }),
    first(oauthBearer(`Bearer ${accept('alice')}`)),
  ),
]
