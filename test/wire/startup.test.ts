import { describe, expect, it } from 'vitest'
import { withCertificates } from '../support/certificates.ts'
import {
  firstMessage,
  fixtureValidator,
  OAUTH_RULE,
  offeredClient,
  withOAuthProxy,
} from '../support/oauth-proxy.ts'
import { perFile } from '../support/per-file.ts'
import { startProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import {
  bytes,
  cancelRequest,
  gssencRequest,
  int32,
  message,
  oauthBearer,
  packet,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  sslRequest,
  startupMessage,
} from '../support/wire-bytes.ts'

const certificates = withCertificates()
const plain = withOAuthProxy()
const secured = perFile(() =>
  startProxy({
    hba: OAUTH_RULE.replace(/^host/, 'hostssl'),
    oauth_validator_libraries: [fixtureValidator('accepts-anything')],
    ssl: true,
    ssl_cert_file: certificates().files.cert,
    ssl_key_file: certificates().files.key,
  }),
)

const SASL_OFFER = message('R', int32(10), 'OAUTHBEARER\0\0')
const fatal = (sqlState: string, text: string) => ({ S: 'FATAL', V: 'FATAL', C: sqlState, M: text })

describe('a client is left without a byte', () => {
  it.each([
    [
      'an HTTP request',
      'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
      'invalid length of startup packet',
    ],
    ['a length word of 0', int32(0), 'invalid length of startup packet'],
    ['a length word of 7', bytes(int32(7), 'abc'), 'invalid length of startup packet'],
    [
      'a length word of 10005',
      bytes(int32(10_005), int32(PROTOCOL_3_0)),
      'invalid length of startup packet',
    ],
    ['a negative length word', int32(-1), 'invalid length of startup packet'],
  ])('for %s', async (_what, data, logged) => {
    const client = await rawClient({ port: plain().port })
    client.send(data)
    await client.expectClose()
    await plain().logged(
      (line) => line.msg === logged && line.sqlState === '08P01' && line.level === 'log',
    )
  })

  it('for a packet that ends early', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(startupMessage({ user: 'alice' }).subarray(0, 15))
    client.end()
    await client.expectClose()
    await plain().logged((line) => line.msg === 'incomplete startup packet')
  })

  it('for a length word that ends early', async () => {
    const client = await rawClient({ port: plain().port })
    client.send('\0\0')
    client.end()
    await client.expectClose()
  })

  it('for direct TLS where TLS is off', async () => {
    const client = await rawClient({ port: plain().port })
    await expect(client.handshake()).rejects.toThrow()
    expect(client.total).toBe(0)
  })

  it('for direct TLS without ALPN, once the handshake is done', async () => {
    const client = await rawClient({ port: secured().port })
    await client.handshake({ ALPNProtocols: [] })
    await client.expectClose()
    await secured().logged(({ msg }) =>
      msg.startsWith('received direct SSL connection request without ALPN'),
    )
  })

  it('and a log line, for a client that says nothing and leaves', async () => {
    const before = plain().lines.length
    const client = await rawClient({ port: plain().port })
    client.end()
    await client.expectClose()
    const later = plain().lines.slice(before)
    expect(later.filter(({ msg }) => !msg.startsWith('connection received'))).toEqual([])
  })
})

describe('TLS', () => {
  it('is granted once, and the login goes on inside', async () => {
    const client = await rawClient({ port: secured().port })
    const socket = await client.startTls()
    expect(socket.alpnProtocol).toBe('postgresql')
    client.send(startupMessage({ user: 'alice' }))
    expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
  })

  it('needs no ALPN behind an SSLRequest', async () => {
    const client = await rawClient({ port: secured().port })
    await client.startTls({ ALPNProtocols: [] })
    client.send(startupMessage({ user: 'alice' }))
    expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
  })

  it.each(['direct', 'requested'])(
    'with another ALPN protocol is refused by an alert when %s',
    async (how) => {
      const client = await rawClient({ port: secured().port })
      const options = { ALPNProtocols: ['http/1.1'] }
      const handshake = how === 'direct' ? client.handshake(options) : client.startTls(options)
      await expect(handshake).rejects.toThrow(/no application protocol/)
    },
  )

  it('may begin directly', async () => {
    const client = await rawClient({ port: secured().port })
    await client.handshake()
    client.send(startupMessage({ user: 'alice' }))
    expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('of %s is never resumed', async (version) => {
    const sessions: Buffer[] = []
    const options = { minVersion: version, maxVersion: version }
    const client = await rawClient({ port: secured().port })
    const socket = await client.startTls(options)
    socket.on('session', (session) => sessions.push(session))
    client.send(startupMessage({ user: 'alice' }))
    await client.readMessage()
    const session = sessions.at(-1) ?? socket.getSession()
    const again = await rawClient({ port: secured().port })
    const resumed = await again.startTls({ ...options, ...(session && { session }) })
    expect(resumed.isSessionReused()).toBe(false)
  })

  it('inside direct TLS is answered N, and a second request is an unknown protocol', async () => {
    const client = await rawClient({ port: secured().port })
    await client.handshake()
    client.send(sslRequest)
    expect((await client.read(1)).toString()).toBe('N')
    client.send(gssencRequest)
    expect((await client.read(1)).toString()).toBe('N')
    client.send(sslRequest)
    expect(await client.readError()).toEqual(
      fatal('0A000', 'unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2'),
    )
  })

  it('inside TLS that was asked for is an unknown protocol', async () => {
    const client = await rawClient({ port: secured().port })
    await client.startTls()
    client.send(sslRequest)
    expect((await client.readError()).C).toBe('0A000')
  })

  it('inside TLS that was asked for rules out GSS encryption, too', async () => {
    const client = await rawClient({ port: secured().port })
    await client.startTls()
    client.send(gssencRequest)
    expect((await client.readError()).M).toBe(
      'unsupported frontend protocol 1234.5680: server supports 3.0 to 3.2',
    )
  })

  it('is refused to a client that has already sent more', async () => {
    const client = await rawClient({ port: secured().port })
    client.send(sslRequest, startupMessage({ user: 'alice' }))
    expect(await client.readError()).toEqual({
      ...fatal('08P01', 'received unencrypted data after SSL request'),
      D: 'This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.',
    })
    await client.expectClose()
  })

  it('that does not come after the S ends in silence', async () => {
    const client = await rawClient({ port: secured().port })
    client.send(sslRequest)
    expect((await client.read(1)).toString()).toBe('S')
    client.send(startupMessage({ user: 'alice' }))
    // An alert of TLS may come, but nothing of PostgreSQL's.
    expect((await client.readToEnd()).includes(SASL_OFFER)).toBe(false)
    await secured().logged(({ msg }) => msg === 'could not accept SSL connection')
  })

  it('is asked of a client whose rule wants it', async () => {
    const client = await rawClient({ port: secured().port })
    client.send(startupMessage({ user: 'alice', database: 'db' }))
    expect(await client.readError()).toEqual(
      fatal(
        '28000',
        'no pg_hba.conf entry for host "127.0.0.1", user "alice", database "db", no encryption',
      ),
    )
  })
})

describe('SSLRequest and GSSENCRequest', () => {
  it('are answered N once each where there is neither, in any order', async () => {
    for (const requests of [
      [sslRequest, gssencRequest],
      [gssencRequest, sslRequest],
    ]) {
      const client = await rawClient({ port: plain().port })
      client.send(...requests)
      expect((await client.read(2)).toString()).toBe('NN')
      client.send(startupMessage({ user: 'alice' }))
      expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
    }
  })

  it.each([
    ['SSLRequest', sslRequest, '1234.5679'],
    ['GSSENCRequest', gssencRequest, '1234.5680'],
  ])('twice are an unknown protocol: %s', async (_name, request, version) => {
    const client = await rawClient({ port: plain().port })
    client.send(request, request)
    expect((await client.read(1)).toString()).toBe('N')
    expect(await client.readError()).toEqual(
      fatal('0A000', `unsupported frontend protocol ${version}: server supports 3.0 to 3.2`),
    )
    await client.expectClose()
  })

  it('are answered N on a Unix socket even where TLS is on', async () => {
    const client = await rawClient({
      path: `${secured().directory}/.s.PGSQL.${secured().port}`,
    })
    client.send(sslRequest)
    expect((await client.read(1)).toString()).toBe('N')
  })
})

describe('the protocol version', () => {
  it('3.2 is taken as it is', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(startupMessage({ user: 'alice' }, PROTOCOL_3_2))
    expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
  })

  it('3.1 is served without a negotiation', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(startupMessage({ user: 'alice' }, 0x0003_0001))
    expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
  })

  it.each([
    [3, 0x0003_0003],
    [9999, 0x0003_270f],
  ])('3.%i is brought down to 3.2', async (_minor, version) => {
    const client = await rawClient({ port: plain().port })
    client.send(startupMessage({ user: 'alice' }, version))
    expect((await client.readMessage()).raw).toEqual(message('v', int32(PROTOCOL_3_2), int32(0)))
    expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
  })

  it('3.0 with options nobody knows is told their names', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(
      startupMessage([
        ['user', 'alice'],
        ['_pq_.b', '1'],
        ['_pq_.a', '2'],
      ]),
    )
    expect((await client.readMessage()).raw).toEqual(
      message('v', int32(PROTOCOL_3_0), int32(2), '_pq_.b\0_pq_.a\0'),
    )
    expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
  })

  it('is negotiated before a missing user is refused', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(startupMessage([['_pq_.a', '1']]))
    expect((await client.readMessage()).type).toBe('v')
    expect(await client.readError()).toEqual(
      fatal('28000', 'no PostgreSQL user name specified in startup packet'),
    )
  })

  it('4.0 is refused', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(startupMessage({ user: 'alice' }, 0x0004_0000))
    expect(await client.readError()).toEqual(
      fatal('0A000', 'unsupported frontend protocol 4.0: server supports 3.0 to 3.2'),
    )
  })

  it('2.0 is refused in the words and the shape of its time', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(packet(int32(0x0002_0000), Buffer.alloc(288)))
    expect((await client.readToEnd()).toString()).toBe(
      'EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.2\n\0',
    )
  })
})

describe('a startup packet', () => {
  it.each([
    ['without a terminator', packet(int32(PROTOCOL_3_0), 'user\0alice\0')],
    ['with bytes behind the terminator', packet(int32(PROTOCOL_3_0), 'user\0alice\0\0x')],
    ['with a name without a value', packet(int32(PROTOCOL_3_0), 'user\0')],
    ['with a value without an end', packet(int32(PROTOCOL_3_0), 'user\0alice')],
    ['with nothing but a version', packet(int32(PROTOCOL_3_0))],
  ])('%s is refused', async (_what, data) => {
    const client = await rawClient({ port: plain().port })
    client.send(data)
    expect(await client.readError()).toEqual(
      fatal('08P01', 'invalid startup packet layout: expected terminator as last byte'),
    )
    await client.expectClose()
  })

  it('with an empty user is refused', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(startupMessage({ user: '' }))
    expect((await client.readError()).M).toBe('no PostgreSQL user name specified in startup packet')
  })

  it('with an impossible replication is refused', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(startupMessage({ user: 'alice', replication: 'maybe' }))
    expect(await client.readError()).toEqual({
      ...fatal('22023', 'invalid value for parameter "replication": "maybe"'),
      H: 'Valid values are: "false", 0, "true", 1, "database".',
    })
  })

  it('for physical replication matches no ordinary rule', async () => {
    const client = await rawClient({ port: plain().port })
    client.send(startupMessage({ user: 'alice', replication: 'tr', database: 'db' }))
    expect((await client.readError()).M).toBe(
      'no pg_hba.conf entry for replication connection from host "127.0.0.1", user "alice", no encryption',
    )
  })

  it('with names over 63 bytes is matched by their first 63', async () => {
    const client = await offeredClient(plain(), 'é'.repeat(40))
    client.send(firstMessage(oauthBearer('')))
    await client.readMessage()
    client.send(message('p', '\u0001'))
    const { M = '' } = await client.readError()
    expect(M).toBe(`OAuth bearer authentication failed for user "${`\\xc3\\xa9`.repeat(31)}\\xc3"`)
  })

  it('of the largest size is read', async () => {
    const filler = 'x'.repeat(10_000 - 4 - 'user\0alice\0filler\0\0\0'.length)
    const largest = startupMessage({ user: 'alice', filler })
    expect(largest.length).toBe(10_004)
    const client = await rawClient({ port: plain().port })
    client.send(largest)
    expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
  })
})

describe('a cancel request', () => {
  it.each([
    [
      'for nobody',
      cancelRequest(12_345, Buffer.alloc(4)),
      'PID 12345 in cancel request did not match any process',
    ],
    ['without a process', packet(int32(80_877_102)), 'invalid length of cancel request packet'],
    [
      'without a key',
      packet(int32(80_877_102), int32(1)),
      'invalid length of cancel key in cancel request packet',
    ],
    [
      'with too long a key',
      packet(int32(80_877_102), int32(1), Buffer.alloc(257)),
      'invalid length of cancel key in cancel request packet',
    ],
  ])('%s is never answered', async (_what, data, logged) => {
    const client = await rawClient({ port: plain().port })
    client.send(data)
    await client.expectClose()
    await plain().logged(({ msg }) => msg === logged)
  })
})
