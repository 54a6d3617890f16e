/** What is said to both servers. */
import { Buffer } from 'node:buffer'
import {
  bytes,
  cancelRequest,
  gssencRequest,
  int32,
  kvsep,
  message,
  oauthBearer,
  packet,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  saslInitialResponse,
  saslResponse,
  sslRequest,
  startupMessage,
} from '../support/wire-bytes.ts'
import type { Step } from './conversation.ts'

export interface Script {
  readonly name: string
  readonly steps: readonly Step[]
}

const ISSUER = 'https://issuer.example'

/** One rule for each database; `OAUTH` is spelled out below. */
export const RULES: string = `
host  plain      all  127.0.0.1/32  OAUTH
host  mapped     all  127.0.0.1/32  OAUTH map=m
host  nomap      all  127.0.0.1/32  OAUTH map=nowhere
host  delegated  all  127.0.0.1/32  OAUTH delegate_ident_mapping=1
host  almost     all  127.0.0.1/32  OAUTH delegate_ident_mapping=true
host  missing    all  127.0.0.1/32  OAUTH
host  wellknown  all  127.0.0.1/32  oauth issuer=${ISSUER}/.well-known/oauth-authorization-server/t scope="a b"
host  slash      all  127.0.0.1/32  oauth issuer=${ISSUER}/ scope=db
host  odd        all  127.0.0.1/32  oauth issuer="https://i/é\\x" scope="a ""b""\tc"
host  noscope    all  127.0.0.1/32  oauth issuer=${ISSUER} scope=""
host  noissuer   all  127.0.0.1/32  oauth issuer= scope=db
hostssl tls      all  127.0.0.1/32  OAUTH
hostnossl notls  all  127.0.0.1/32  OAUTH
hostssl fullcert all 127.0.0.1/32  OAUTH clientcert=verify-full
hostssl fullmap  all  127.0.0.1/32  OAUTH clientcert=verify-full map=m
hostssl fulldn   all  127.0.0.1/32  OAUTH clientcert=verify-full clientname=DN
hostssl fulldel  all  127.0.0.1/32  OAUTH clientcert=verify-full delegate_ident_mapping=1
hostssl cacert   all  127.0.0.1/32  OAUTH clientcert=verify-ca
hostssl onlycert all  127.0.0.1/32  cert
hostssl certmap  all  127.0.0.1/32  cert map=m
host  rejected   all  127.0.0.1/32  reject
host  joined,"two words" all 127.0.0.1/32 \\
  OAUTH
host  replication all 127.0.0.1/32 OAUTH
`.replaceAll('OAUTH', `oauth issuer=${ISSUER} scope=db`)

export const MAPS = `
m  alice@example.com  bob
m  /^(.*)@staff\\.example$  \\1
m  /^y$  \\1
m  carol  all
m  dave   +crew
m  /^re   /^b.b$
`

const hex = (text: string): string => Buffer.from(text).toString('hex')

/** A token that is good for this identity. */
export const accept = (identity: string): string => `accept.${hex(identity)}`

const start = (
  user: string,
  database: string,
  more: Readonly<Record<string, string>> = {},
): Buffer => startupMessage({ user, database, ...more })

const first = (data?: string | Uint8Array): Buffer => saslInitialResponse('OAUTHBEARER', data)

function login(database: string, token: string, user = 'alice'): readonly Step[] {
  return [start(user, database), first(oauthBearer(`Bearer ${token}`)), saslResponse(kvsep)]
}

const script = (name: string, ...steps: readonly Step[]): Script => ({ name, steps })

const DISCOVERED = ['wellknown', 'slash', 'odd', 'noscope', 'noissuer', 'plain', 'two words']

const discovery: readonly Script[] = DISCOVERED.map((database) =>
  script(
    `discovery in ${database}`,
    start('alice', database),
    first(oauthBearer('')),
    saslResponse(kvsep),
  ),
)

const decisions: readonly Script[] = (
  [
    ['plain', accept('alice'), 'alice'],
    ['plain', accept('bob'), 'alice'],
    ['plain', accept('Alice'), 'alice'],
    ['plain', accept('al"ice'), 'al"ice'],
    ['plain', accept('é'), 'é'],
    ['plain', 'anonymous', 'alice'],
    ['plain', 'empty', 'alice'],
    ['plain', 'deny', 'alice'],
    ['plain', `deny.${hex('alice')}`, 'alice'],
    ['plain', `deny.${hex('é " \\')}`, 'alice'],
    ['plain', `fail.${hex('alice')}`, 'alice'],
    ['plain', 'whatever', 'alice'],
    ['plain', '===', 'alice'],
    ['plain', accept('ghost'), 'ghost'],
    ['plain', accept('nologin'), 'nologin'],
    ['plain', accept('a'.repeat(63)), 'a'.repeat(70)],
    ['plain', accept('a'.repeat(70)), 'a'.repeat(70)],
    ['missing', accept('alice'), 'alice'],
    ['mapped', accept('alice@example.com'), 'bob'],
    ['mapped', accept('alice@example.com'), 'alice'],
    ['mapped', accept('ALICE@example.com'), 'bob'],
    ['mapped', accept('bob@staff.example'), 'bob'],
    ['mapped', accept('bob@staffXexample'), 'bob'],
    ['mapped', accept('x@staff.example'), 'bob'],
    ['mapped', accept('y'), 'bob'],
    ['mapped', accept('carol'), 'bob'],
    ['mapped', accept('dave'), 'bob'],
    ['mapped', accept('dave'), 'alice'],
    ['mapped', accept('resident'), 'bob'],
    ['mapped', accept('resident'), 'alice'],
    ['mapped', accept('bob'), 'bob'],
    ['mapped', 'anonymous', 'bob'],
    ['mapped', 'empty', 'bob'],
    ['nomap', accept('alice'), 'alice'],
    ['delegated', accept('somebody else'), 'alice'],
    ['delegated', 'anonymous', 'alice'],
    ['delegated', 'empty', 'alice'],
    ['delegated', 'deny', 'alice'],
    ['delegated', `deny.${hex('alice')}`, 'alice'],
    ['delegated', `fail.${hex('alice')}`, 'alice'],
    ['almost', accept('somebody else'), 'alice'],
    ['almost', 'anonymous', 'alice'],
    ['joined', 'deny', 'alice'],
    ['notls', accept('alice'), 'alice'],
    ['tls', accept('alice'), 'alice'],
    ['rejected', accept('alice'), 'alice'],
    ['nowhere', accept('alice'), 'alice'],
  ] as const
).map(([database, token, user]) =>
  script(`${token} as ${user} in ${database}`, ...login(database, token, user)),
)

/** Behind `n,,` or in place of it. */
const PAYLOADS: readonly (string | Uint8Array)[] = [
  '',
  ' ',
  kvsep,
  'n',
  'y',
  'n,',
  'n,,',
  'n,,\u0001',
  'n,,\u0001\u0001',
  'y,,\u0001auth=\u0001\u0001',
  'N,,\u0001auth=\u0001\u0001',
  'p=tls-unique,,\u0001auth=\u0001\u0001',
  'p',
  'x',
  'x,,\u0001auth=\u0001\u0001',
  '\u007f',
  '\u0080',
  Buffer.from([0xff]),
  'nx',
  'n\n',
  'n,x',
  'n,a',
  'n,a=alice,\u0001auth=Bearer x\u0001\u0001',
  'n,a=,\u0001auth=\u0001\u0001',
  'n,,x',
  'n,,\u0000',
  'n,,auth=\u0001\u0001',
  'n,,\u0001auth',
  'n,,\u0001auth\u0001',
  'n,,\u0001auth\u0001\u0001',
  'n,,\u0001auth=',
  'n,,\u0001auth=\u0001',
  'n,,\u0001auth=\u0001\u0001x',
  'n,,\u0001auth=\u0001\u0001\u0001',
  'n,,\u0001auth=\u0001\u0001\0',
  'n,,\u0001auth=\0\u0001\u0001',
  'n,,\u0001=x\u0001auth=\u0001\u0001',
  'n,,\u0001=\u0001\u0001',
  'n,,\u0001a1=x\u0001auth=\u0001\u0001',
  'n,,\u0001 auth=\u0001\u0001',
  'n,,\u0001auth =\u0001\u0001',
  'n,,\u0001é=x\u0001\u0001',
  'n,,\u0001AUTH=\u0001\u0001',
  'n,,\u0001Auth=Bearer x\u0001auth=\u0001\u0001',
  'n,,\u0001authx=\u0001\u0001',
  'n,,\u0001host=\u007f\u0001auth=\u0001\u0001',
  'n,,\u0001host=é\u0001auth=\u0001\u0001',
  'n,,\u0001host=\u0002\u0001auth=\u0001\u0001',
  'n,,\u0001host=\u001f\u0001auth=\u0001\u0001',
  'n,,\u0001host=\t\r\n\u0001auth=\u0001\u0001',
  'n,,\u0001host=\u000b\u0001auth=\u0001\u0001',
  'n,,\u0001host=a=b=c\u0001auth=\u0001\u0001',
  'n,,\u0001host=a\u0001host=b\u0001port=\u0001auth=\u0001\u0001',
  'n,,\u0001auth=\u0001auth=\u0001\u0001',
  'n,,\u0001auth=Bearer x\u0001auth=\u0001\u0001',
  'n,,\u0001auth=\u0001auth=\u007f\u0001\u0001',
  'n,,\u0001host\u0001auth=\u0001\u0001',
  'n,,\u0001auth=\u0001host\u0001\u0001',
  'n,,\u0001auth=\u0001host=x',
  'n,,\u0001\u0001auth=\u0001\u0001',
  'n,,\u0001auth=Bearer\u0001\u0001',
  'n,,\u0001auth=Bearer \u0001\u0001',
  'n,,\u0001auth=Bearer   \u0001\u0001',
  'n,,\u0001auth= \u0001\u0001',
  'n,,\u0001auth= Bearer deny\u0001\u0001',
  'n,,\u0001auth=Bearer\tdeny\u0001\u0001',
  'n,,\u0001auth=Bearer \tdeny\u0001\u0001',
  'n,,\u0001auth=Basic deny\u0001\u0001',
  'n,,\u0001auth=Bearerdeny\u0001\u0001',
  'n,,\u0001auth=bEARER deny\u0001\u0001',
  'n,,\u0001auth=Bearer    deny\u0001\u0001',
  'n,,\u0001auth=Bearer deny \u0001\u0001',
  'n,,\u0001auth=Bearer de ny\u0001\u0001',
  'n,,\u0001auth=Bearer de=ny\u0001\u0001',
  'n,,\u0001auth=Bearer deny==\u0001\u0001',
  'n,,\u0001auth=Bearer deny\n\u0001\u0001',
  'n,,\u0001auth=Bearer de,ny\u0001\u0001',
  'n,,\u0001auth=Bearer "deny"\u0001\u0001',
  'n,,\u0001auth=Bearer a.b_c~d+e/f-g\u0001\u0001',
]

const payloads: readonly Script[] = PAYLOADS.map((payload) =>
  script(
    `the first message ${JSON.stringify(Buffer.from(payload as string).toString('latin1'))}`,
    start('alice', 'plain'),
    first(payload),
    saslResponse(kvsep),
  ),
)

const FRAMES: readonly (readonly [string, Buffer])[] = [
  ['another type', message('Q', 'select 1\0')],
  ['Terminate', message('X')],
  ['a NUL as type', message('\0', 'x')],
  ['a type above 127', bytes(new Uint8Array([0xff]), packet('x'))],
  ['an empty body', message('p')],
  ['no NUL behind the mechanism', message('p', 'OAUTHBEARER')],
  ['no length word', message('p', 'OAUTHBEARER\0')],
  ['half a length word', message('p', 'OAUTHBEARER\0', '\0\0')],
  ['an empty mechanism', message('p', '\0', int32(-1))],
  ['a small mechanism', message('p', 'oauthbearer\0', int32(-1))],
  ['SCRAM', saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abc')],
  ['a mechanism with a blank', message('p', 'OAUTHBEARER \0', int32(-1))],
  ['a mechanism that is too long', message('p', `${'x'.repeat(300)}\0`, int32(-1))],
  ['a length of -2', message('p', 'OAUTHBEARER\0', int32(-2))],
  ['a length of 5 for 4 bytes', message('p', 'OAUTHBEARER\0', int32(5), 'n,,\u0001')],
  ['a length of 3 for 4 bytes', message('p', 'OAUTHBEARER\0', int32(3), 'n,,\u0001')],
  ['a length of -1 and bytes', message('p', 'OAUTHBEARER\0', int32(-1), 'n,,\u0001')],
  ['a length of 0 and bytes', message('p', 'OAUTHBEARER\0', int32(0), 'n')],
  ['a length of 2^31-1', message('p', 'OAUTHBEARER\0', int32(0x7fff_ffff), 'n')],
  ['a frame of 3', bytes('p', int32(3))],
  ['a frame of 0', bytes('p', int32(0))],
  ['a frame of -1', bytes('p', int32(-1))],
  ['a frame of 65536', bytes('p', int32(65_536))],
  ['a frame of 65535 that ends', bytes('p', int32(65_535), 'OAUTHBEARER\0')],
  ['a type alone', bytes('p')],
  ['half a frame length', bytes('p', '\0\0')],
  ['the longest token', first(oauthBearer(`Bearer ${'a'.repeat(65_497)}`))],
  ['a token that is too long', first(oauthBearer(`Bearer ${'a'.repeat(65_498)}`))],
]

const frames: readonly Script[] = FRAMES.map(([name, frame]) =>
  script(`a frame: ${name}`, start('alice', 'plain'), frame),
)

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

const seconds: readonly Script[] = SECONDS.flatMap(([name, second]) => [
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

const challenged: readonly Script[] = (
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

const together: readonly Script[] = [
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

const startups: readonly Script[] = [
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

const encrypted: readonly Script[] = [
  script('TLS, and a good token', sslRequest, 'tls', ...login('tls', accept('alice'))),
  script('TLS, and a refused one', sslRequest, 'tls', ...login('tls', 'deny')),
  script('TLS, and no rule', sslRequest, 'tls', ...login('notls', accept('alice'))),
  script('TLS, and reject', sslRequest, 'tls', ...login('rejected', accept('alice'))),
  script('TLS, then SSLRequest', sslRequest, 'tls', sslRequest),
  script('TLS, then GSSENCRequest', sslRequest, 'tls', gssencRequest),
  script(
    'SSLRequest behind GSSENCRequest',
    gssencRequest,
    sslRequest,
    'tls',
    ...login('tls', 'deny'),
  ),
]

const certified: readonly Script[] = ['fullcert', 'fullmap', 'fulldn', 'fulldel', 'cacert'].flatMap(
  (database) =>
    [undefined, 'alice', 'bob', 'staff'].flatMap((owner) =>
      (
        [
          ['alice', accept('alice')],
          ['bob', accept('bob')],
          ['bob', accept('bob@staff.example')],
          ['alice', 'deny'],
        ] as const
      ).map(([user, token]) =>
        script(
          `a certificate of ${owner} and ${token} as ${user} in ${database}`,
          sslRequest,
          owner === undefined ? 'tls' : { certificateOf: owner },
          ...login(database, token, user),
        ),
      ),
    ),
)

const certificates: readonly Script[] = ['onlycert', 'certmap'].flatMap((database) =>
  [undefined, 'alice', 'bob', 'staff', 'nameless'].flatMap((owner) =>
    ['alice', 'bob'].map((user) =>
      script(
        `a certificate of ${owner} alone as ${user} in ${database}`,
        sslRequest,
        owner === undefined ? 'tls' : { certificateOf: owner },
        start(user, database),
      ),
    ),
  ),
)

export const SCRIPTS: readonly Script[] = [
  ...discovery,
  ...decisions,
  ...payloads,
  ...frames,
  ...seconds,
  ...challenged,
  ...together,
  ...startups,
  ...encrypted,
  ...certified,
  ...certificates,
]
