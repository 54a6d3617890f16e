import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type CertificateAuthority,
  type CertificatePair,
  createCertificateAuthority,
} from '../../src/demo/certificates.ts'
import type { EmbeddedPostgres } from '../../src/demo/embedded-postgres.ts'
import { UpstreamError } from '../../src/errors.ts'
import { UpstreamRefusedError } from '../../src/upstream/errors.ts'
import { sendCancelRequest } from '../../src/upstream/send-cancel-request.ts'
import type { SslMode, UpstreamSettings } from '../../src/upstream/settings.ts'
import { startPostgres } from '../support/postgres.ts'
import {
  connect,
  message,
  query,
  type ScriptedPeer,
  scriptedServer,
  startup,
  upstreamSettings,
} from './support.ts'

const HBA = `
hostssl all encrypted all scram-sha-256
hostnossl all unencrypted all scram-sha-256
hostssl all bearer_of_a_certificate all cert
host all alice all scram-sha-256
`
const ROLES = `
CREATE ROLE alice LOGIN PASSWORD 'secret';
CREATE ROLE encrypted LOGIN PASSWORD 'secret';
CREATE ROLE unencrypted LOGIN PASSWORD 'secret';
CREATE ROLE bearer_of_a_certificate LOGIN;
`
const SECRET = { password: 'secret' }

let authority: CertificateAuthority
let stranger: CertificateAuthority
/** Its certificate is for the name localhost alone. */
let named: EmbeddedPostgres
/** Its certificate is for 127.0.0.1 alone; RSA, signed with SHA-384. */
let numbered: EmbeddedPostgres
/** Has no TLS. */
let off: EmbeddedPostgres

beforeAll(async () => {
  authority = await createCertificateAuthority('ours')
  stranger = await createCertificateAuthority('a stranger')
  const start = (ssl?: CertificatePair) =>
    startPostgres({
      hba: HBA,
      settings: { log_connections: 'all' },
      ...(ssl === undefined ? {} : { ssl: { ...ssl, ca: authority.cert } }),
    })
  named = await start(await authority.issue({ names: ['localhost'] }))
  numbered = await start(
    await authority.issue({
      names: ['127.0.0.1'],
      commonName: 'localhost',
      keyType: 'RSA',
      hash: 'SHA-384',
    }),
  )
  off = await start()
  for (const server of [named, numbered]) {
    await server.query(ROLES)
  }
  await off.query(ROLES.replace('CREATE ROLE bearer_of_a_certificate LOGIN;', ''))
})

afterAll(async () => {
  await Promise.all([named, numbered, off].map((server) => server?.stop()))
})

function to(server: EmbeddedPostgres, change: Partial<UpstreamSettings>): UpstreamSettings {
  return upstreamSettings({ host: 'localhost', port: server.port, ...change })
}

/** `tls`, `plain`, or the reason why not; what the server says it is, not what we think it is. */
async function outcome(settings: UpstreamSettings, user = 'alice'): Promise<string> {
  try {
    const session = await connect(settings, startup(user), SECRET)
    const sql = 'SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()'
    const answer = (await query(session, sql)).toString('latin1')
    expect(session.socket instanceof tls.TLSSocket).toBe(answer.includes('true'))
    return answer.includes('true') ? 'tls' : 'plain'
  } catch (error) {
    if (error instanceof UpstreamRefusedError) {
      return error.sqlState
    }
    expect(error).toBeInstanceOf(UpstreamError)
    return String((error as UpstreamError).reason)
  }
}

describe('sslmode means what it means in libpq', () => {
  type Expectations = Readonly<Record<SslMode, string>>

  const table: readonly [
    string,
    () => [EmbeddedPostgres, Partial<UpstreamSettings>],
    Expectations,
  ][] = [
    [
      'no root certificate',
      () => [named, {}],
      {
        disable: 'plain',
        allow: 'plain',
        prefer: 'tls',
        require: 'tls',
        'verify-ca': 'settings',
        'verify-full': 'settings',
      },
    ],
    [
      'the right root certificate and name',
      () => [named, { sslrootcert: authority.cert }],
      {
        disable: 'plain',
        allow: 'plain',
        prefer: 'tls',
        require: 'tls',
        'verify-ca': 'tls',
        'verify-full': 'tls',
      },
    ],
    [
      'the right root certificate and address',
      () => [numbered, { host: '127.0.0.1', sslrootcert: authority.cert }],
      {
        disable: 'plain',
        allow: 'plain',
        prefer: 'tls',
        require: 'tls',
        'verify-ca': 'tls',
        'verify-full': 'tls',
      },
    ],
    [
      'the right root certificate and another name',
      () => [named, { host: '127.0.0.1', sslrootcert: authority.cert }],
      {
        disable: 'plain',
        allow: 'plain',
        prefer: 'tls',
        require: 'tls',
        'verify-ca': 'tls',
        'verify-full': 'tls_failed',
      },
    ],
    [
      'a name that is only in the subject of a certificate with alternative names',
      () => [numbered, { host: 'localhost', sslrootcert: authority.cert }],
      {
        disable: 'plain',
        allow: 'plain',
        prefer: 'tls',
        require: 'tls',
        'verify-ca': 'tls',
        // libpq: an alternative name of another type does not hide the subject's; Node agrees.
        'verify-full': 'tls',
      },
    ],
    [
      'the wrong root certificate',
      () => [named, { sslrootcert: stranger.cert }],
      {
        disable: 'plain',
        allow: 'plain',
        prefer: 'plain',
        require: 'tls_failed',
        'verify-ca': 'tls_failed',
        'verify-full': 'tls_failed',
      },
    ],
    [
      'a server without TLS',
      () => [off, { sslrootcert: authority.cert }],
      {
        disable: 'plain',
        allow: 'plain',
        prefer: 'plain',
        require: 'tls_refused',
        'verify-ca': 'tls_refused',
        'verify-full': 'tls_refused',
      },
    ],
  ]

  describe.each(table)('with %s', (_what, where, expected) => {
    test.each(Object.entries(expected) as [SslMode, string][])(
      '%s: %s',
      async (sslmode, result) => {
        const [server, change] = where()
        expect(await outcome(to(server, { ...change, sslmode }))).toBe(result)
      },
    )
  })

  test('allow goes on to TLS where a rule wants it', async () => {
    expect(await outcome(to(named, { sslmode: 'allow' }), 'encrypted')).toBe('tls')
  })

  test('prefer goes on without TLS where a rule wants that', async () => {
    expect(await outcome(to(named, { sslmode: 'prefer' }), 'unencrypted')).toBe('plain')
  })

  test.each(['disable', 'require'] as const)('%s does not try the other one', async (sslmode) => {
    const user = sslmode === 'disable' ? 'encrypted' : 'unencrypted'
    expect(await outcome(to(named, { sslmode }), user)).toBe('28000')
  })

  test.each(['allow', 'prefer'] as const)(
    'where %s fails twice, what was said inside TLS is reported',
    async (sslmode) => {
      const refusal = connect(to(named, { sslmode }), startup('nobody'), SECRET)
      await expect(refusal).rejects.toThrow(/^no pg_hba\.conf entry .*, SSL encryption$/)
    },
  )

  test.each(['allow', 'prefer'] as const)(
    '%s does not send a wrong password twice',
    async (sslmode) => {
      const tries = () =>
        named.log().split('password authentication failed for user "alice"').length
      const before = tries()
      const wrong = { password: 'wrong' }
      await expect(connect(to(named, { sslmode }), startup('alice'), wrong)).rejects.toMatchObject({
        sqlState: '28P01',
      })
      expect(tries()).toBe(before + 1)
    },
  )

  test('sslrootcert=system trusts no private authority', async () => {
    const settings = to(named, { sslmode: 'verify-full', sslrootcert: 'system' })
    expect(await outcome(settings)).toBe('tls_failed')
  })
})

describe('direct TLS', () => {
  test('needs no SSLRequest', async () => {
    const change = { sslmode: 'verify-full', sslnegotiation: 'direct' } as const
    expect(await outcome(to(named, { ...change, sslrootcert: authority.cert }))).toBe('tls')
  })

  test('fails with a server that has no TLS', async () => {
    const change = { sslmode: 'require', sslnegotiation: 'direct' } as const
    expect(await outcome(to(off, change))).toBe('tls_failed')
  })

  test('fails with a server of another protocol', async () => {
    const pair = await authority.issue()
    const other = tls.createServer(pair)
    other.on('tlsClientError', () => {})
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as net.AddressInfo
    const change = { sslmode: 'require', sslnegotiation: 'direct', port } as const
    expect(await outcome(upstreamSettings(change))).toBe('tls_failed')
    other.close()
    await once(other, 'close')
  })
})

describe('a certificate of our own', () => {
  test('logs in the role that it names', async () => {
    const pair = await authority.issue({ commonName: 'bearer_of_a_certificate', usage: 'client' })
    const settings = to(named, { sslmode: 'require', sslcert: pair.cert, sslkey: pair.key })
    expect(await outcome(settings, 'bearer_of_a_certificate')).toBe('tls')
  })

  test('of another authority is refused', async () => {
    const pair = await stranger.issue({ commonName: 'bearer_of_a_certificate', usage: 'client' })
    const settings = to(named, { sslmode: 'require', sslcert: pair.cert, sslkey: pair.key })
    expect(await outcome(settings, 'bearer_of_a_certificate')).toBe('closed')
  })

  test('is missed by the server in its own words', async () => {
    const settings = to(named, { sslmode: 'require' })
    await expect(connect(settings, startup('bearer_of_a_certificate'))).rejects.toThrow(
      'connection requires a valid client certificate',
    )
  })
})

describe('channel binding', () => {
  test.each([
    ['an EC certificate signed with SHA-256', () => named],
    ['an RSA certificate signed with SHA-384', () => numbered],
  ])('required: the server accepts ours, with %s', async (_what, server) => {
    const settings = to(server(), { sslmode: 'require', channelBinding: 'require' })
    expect(await outcome(settings)).toBe('tls')
  })

  test('disabled: the server accepts that too', async () => {
    const settings = to(named, { sslmode: 'require', channelBinding: 'disable' })
    expect(await outcome(settings)).toBe('tls')
  })

  test('required: nothing less will do', async () => {
    const settings = to(off, { sslmode: 'prefer', channelBinding: 'require' })
    expect(await outcome(settings)).toBe('channel_binding')
  })

  test('gives away somebody in the middle who has a certificate of his own', async () => {
    await using middle = await manInTheMiddle((offer) => offer)
    const settings = upstreamSettings({ port: middle.port, sslmode: 'require' })
    const refusal = connect(settings, startup('alice'), SECRET)
    await expect(refusal).rejects.toThrow('SCRAM channel binding check failed')
  })

  test('gives away somebody in the middle who hides that the server has it', async () => {
    await using middle = await manInTheMiddle(() => message('R', 10, 'SCRAM-SHA-256\0', '\0'))
    const settings = upstreamSettings({ port: middle.port, sslmode: 'require' })
    const error: unknown = await connect(settings, startup('alice'), SECRET).catch(
      (e: unknown) => e,
    )
    expect(error).toMatchObject({
      sqlState: '28000',
      message: 'SCRAM channel binding negotiation error',
    })
  })
})

describe('a cancel request', () => {
  test.each(['allow', 'prefer', 'verify-full'] as const)(
    'goes through TLS under %s',
    async (sslmode) => {
      const settings = to(named, { sslmode, sslrootcert: authority.cert })
      const session = await connect(settings, startup('alice'), SECRET)
      const { processId } = session.cancelKey!
      const answer = query(session, 'SELECT pg_sleep(600)')
      const sql = "SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active'"
      while ((await named.query(sql, [processId])).length === 0) {
        // Not yet.
      }
      await sendCancelRequest(settings, session.cancelKey!, {
        signal: new AbortController().signal,
      })
      expect((await answer).toString('latin1')).toContain('C57014')
    },
  )

  test('is not sent to a server that is not the right one', async () => {
    const settings = to(named, { sslmode: 'verify-ca', sslrootcert: stranger.cert })
    const key = { processId: 1, key: Buffer.alloc(4) }
    const sent = sendCancelRequest(settings, key, { signal: new AbortController().signal })
    await expect(sent).rejects.toMatchObject({ reason: 'tls_failed' })
  })
})

/** Ends TLS on both sides, and changes the server's list of mechanisms on the way. */
async function manInTheMiddle(change: (offer: Buffer) => Buffer) {
  const pair = await stranger.issue()
  return scriptedServer(async (peer: ScriptedPeer) => {
    await peer.readStartup()
    peer.write('S')
    const client = new tls.TLSSocket(peer.release(), { isServer: true, ...pair })
    const raw = net.connect(named.port, '127.0.0.1')
    raw.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
    await once(raw, 'data')
    const server = tls.connect({ socket: raw, rejectUnauthorized: false })
    await once(server, 'secureConnect')
    for (const socket of [client, server]) {
      socket.on('error', () => {})
    }
    client.on('data', (chunk: Buffer) => server.write(chunk))
    client.write(change(((await once(server, 'data')) as [Buffer])[0]))
    server.on('data', (chunk: Buffer) => client.write(chunk))
    await once(server, 'close')
    client.destroy()
  })
}
