import { once } from 'node:events'
import net from 'node:net'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import pg, { Client, Pool, Query } from 'pg'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  type PgClientOAuthOptions,
  TokenConfigError,
  TokenProvider,
  type TokenRequest,
  credential,
  pgOAuth,
  pgOAuthClient,
  tokenCallback,
} from '../../../src/client/index.ts'
import {
  PG_CLIENT_METHODS,
  PG_CONNECTION_METHODS,
} from '../../../src/client/adapters/pg-internals.ts'
import {
  type CertificateAuthority,
  createCertificateAuthority,
} from '../../../src/demo/certificates.ts'
import {
  authenticationCleartextPassword,
  authenticationOk,
  authenticationSASL,
  authenticationSASLContinue,
} from '../../../src/protocol/backend-messages.ts'
import { CANCEL_REQUEST_CODE } from '../../../src/protocol/limits.ts'
import { encodeMessage, int32 } from '../../../src/protocol/message.ts'
import {
  DISCOVERY_URL,
  ISSUER,
  type Peer,
  READY,
  REFUSAL,
  type Script,
  type ScriptedServer,
  honest,
  scriptedServer,
} from '../support/scripted-server.ts'

const TOKEN = 'driver-secret-token'
const LOCAL = { insecure: 'loopback-only' } as const
const token = (): { accessToken: string } => credential(TOKEN)

let authority: CertificateAuthority
beforeAll(async () => {
  authority = await createCertificateAuthority()
})

const thrownBy = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => error,
  )

const tokensAt = (server: ScriptedServer): string[] =>
  server.peers.flatMap((peer) =>
    peer.received
      .map((bytes) => /auth=(?:Bearer )?([^\x01]*)\x01/.exec(bytes.toString('latin1'))?.[1])
      .filter((sent) => sent !== undefined),
  )

function clientFor(
  { host, port }: Pick<ScriptedServer, 'host' | 'port'>,
  options: Partial<PgClientOAuthOptions> = {},
  config: object = {},
): Client {
  const OAuthClient = pgOAuthClient(Client, { token, ...LOCAL, ...options })
  const client = new OAuthClient({ host, port, user: 'ann', ...config })
  client.on('error', () => {})
  return client
}

/** Logs in, ends, and says how that went. */
async function attempt(...parameters: Parameters<typeof clientFor>): Promise<unknown> {
  const client = clientFor(...parameters)
  try {
    await client.connect()
    return undefined
  } catch (error) {
    return error
  } finally {
    await client.end()
  }
}

describe('a class of clients of pg', () => {
  it('M12: the installed pg has every method that is used of it', () => {
    for (const name of PG_CLIENT_METHODS) {
      expect(Client.prototype, name).toHaveProperty(name)
    }
    expect(PG_CLIENT_METHODS).toContain('_handleAuthSASL')
    for (const name of PG_CONNECTION_METHODS) {
      expect(pg.Connection.prototype, name).toHaveProperty(name)
    }
  })

  it('M12: a class that lacks one of them is refused before anything is made of it', () => {
    for (const name of PG_CLIENT_METHODS) {
      class Other extends Client {}
      Object.defineProperty(Other.prototype, name, { value: undefined })
      expect(() => pgOAuthClient(Other, { token })).toThrow(TokenConfigError)
      expect(() => pgOAuthClient(Other, { token })).toThrow(`this version of pg has no ${name}()`)
    }
    expect(() => pgOAuthClient(net.Socket, { token })).toThrow(TokenConfigError)
  })

  it('M12: a connection that lacks one of them is refused before it is opened', async () => {
    await using server = await scriptedServer(honest(() => true))
    for (const name of PG_CONNECTION_METHODS) {
      const connection = Object.assign(new pg.Connection(), { [name]: undefined })
      const error = await attempt(server, {}, { connection })
      expect(error).toBeInstanceOf(TokenConfigError)
    }
    expect(server.accepted).toBe(0)
  })

  it('M11: comes before what a later pg does with a token of its own', async () => {
    const own: unknown[] = []
    class LaterClient extends Client {
      _handleAuthSASL(message: unknown): void {
        own.push(message)
      }
    }
    await using server = await scriptedServer(honest((sent) => sent === TOKEN))
    const Later = pgOAuthClient(LaterClient, { token, ...LOCAL })
    const { host, port } = server
    const config = { host, port, user: 'ann', oauthBearerToken: 'of-the-driver' }
    const client = new Later(config)
    await client.connect()
    expect((await client.query('select 1')).rows).toEqual([{ one: 1 }])
    await client.end()
    expect(tokensAt(server)).toEqual([TOKEN])
    expect(own).toEqual([])
    expect(client).toBeInstanceOf(LaterClient)
  })

  it('M10: takes what the driver takes for a configuration', async () => {
    await using server = await scriptedServer(
      honest(() => true),
      { tls: await authority.issue() },
    )
    const OAuthClient = pgOAuthClient(Client, { token })
    const text = `postgresql://ann@localhost:${server.port}/app`
    const client = new OAuthClient({ connectionString: text, ssl: { ca: authority.cert } })
    await client.connect()
    await client.end()
    expect(server.peers[0]!.startup.toString('latin1')).toContain('user\0ann\0database\0app\0')
    // The authority is not one of Node's, and it is the driver that says so.
    const bare = new OAuthClient(`${text}?sslmode=verify-full`)
    expect(await thrownBy(bare.connect())).toMatchObject({
      code: expect.stringMatching(/^UNABLE_TO_VERIFY|^SELF_SIGNED/) as string,
    })
    await bare.end()
    expect(server.peers).toHaveLength(1)
  })

  it('M10: cancels a query over a connection of its own, without a token', async () => {
    const cancels: Buffer[] = []
    const sessions: Peer[] = []
    await using server = await scriptedServer(async (peer) => {
      if (peer.startup.readUInt32BE(4) === CANCEL_REQUEST_CODE) {
        cancels.push(peer.startup)
        sessions[0]?.send(
          encodeMessage('E', Buffer.from('SERROR\0C57014\0Mcanceled\0\0')),
          encodeMessage('Z', Buffer.from('I')),
        )
        peer.socket.end()
        return
      }
      sessions.push(peer)
      await peer.askToken()
      peer.welcome()
      await peer.serve((sql) => sql === 'sleep')
    })
    const client = clientFor(server)
    await client.connect()
    const query = new Query('sleep')
    const failed = new Promise<unknown>((resolve) => query.once('error', resolve))
    client.query(query)
    const canceller = clientFor(server)
    ;(canceller as unknown as { cancel(c: unknown, q: unknown): void }).cancel(client, query)
    expect(await failed).toMatchObject({ code: '57014' })
    expect(cancels).toEqual([
      Buffer.concat([int32(16), int32(CANCEL_REQUEST_CODE), int32(7), int32(9)]),
    ])
    await client.end()
  })

  it('M10: replaces a held token that is refused, once, and not a fresh one', async () => {
    await using server = await scriptedServer(honest((sent) => sent === 't2'))
    let made = 0
    const provider = new TokenProvider(() => {
      made += 1
      return credential(`t${made}`)
    })
    expect(await attempt(server, { token: provider })).toMatchObject({ code: '28000' })
    expect(tokensAt(server)).toEqual(['t1'])
    const target = { host: server.host, port: server.port, database: undefined }
    provider.store({ accessToken: 'poisoned' }, { username: 'ann', target })
    expect(await attempt(server, { token: provider })).toBeUndefined()
    expect(tokensAt(server)).toEqual(['t1', 'poisoned', 't2'])
  })

  it('M10: does not open a second connection over a stream that the driver was given', async () => {
    await using server = await scriptedServer(honest((sent) => sent === 't2'))
    const provider = new TokenProvider(() => credential('t2'))
    const target = { host: server.host, port: server.port, database: undefined }
    const need = { username: 'ann', target }
    provider.store({ accessToken: 'poisoned' }, need)
    const stream = new net.Socket()
    expect(await attempt(server, { token: provider }, { stream })).toMatchObject({ code: '28000' })
    expect(tokensAt(server)).toEqual(['poisoned'])
    expect(provider.has(need)).toBe(false)
    // A function makes another.
    provider.store({ accessToken: 'poisoned' }, need)
    const config = { stream: () => new net.Socket() }
    expect(await attempt(server, { token: provider }, config)).toBeUndefined()
  })

  it('M10: asks a person while no connection is open, after the server has said where', async () => {
    await using server = await scriptedServer(honest((sent) => sent === 'of-a-person'))
    const requests: TokenRequest[] = []
    const open: boolean[] = []
    const person = tokenCallback(
      async (request) => {
        requests.push(request)
        await new Promise((resolve) => setTimeout(resolve, 50))
        open.push(...server.peers.map((peer) => !peer.socket.destroyed))
        return credential('of-a-person')
      },
      { interactive: true },
    )
    const options = { token: person, issuer: ISSUER }
    expect(await attempt(server, options)).toBeUndefined()
    expect(tokensAt(server)).toEqual(['', 'of-a-person'])
    expect(open).toEqual([false])
    expect(requests).toMatchObject([{ issuer: ISSUER, discoveryUrl: DISCOVERY_URL }])
    const one = { stream: new net.Socket() }
    expect(await attempt(server, options, one)).toMatchObject({
      message: expect.stringContaining('make stream a function') as string,
    })
    const elsewhere = { token: person, issuer: ISSUER, provider: { allowedHosts: ['db'] } }
    expect(await attempt(server, elsewhere)).toBeInstanceOf(TokenConfigError)
  })

  it('M10: ending it while a person is asked ends the question', async () => {
    await using server = await scriptedServer(honest(() => true))
    let aborted = false
    let asked = (): void => {}
    const asking = new Promise<void>((resolve) => (asked = resolve))
    const person = tokenCallback(
      ({ signal }) => {
        asked()
        return new Promise<never>((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted = true
            reject(new Error('stopped'))
          })
        })
      },
      { interactive: true },
    )
    const client = clientFor(server, { token: person, issuer: ISSUER })
    const failed = thrownBy(client.connect())
    await asking
    await client.end()
    expect(await failed).toMatchObject({ message: 'Connection terminated' })
    expect(aborted).toBe(true)
    expect(tokensAt(server)).toEqual([''])
  })

  it('M10: a pool whose patience ends while a person is asked gets an error and no client', async () => {
    await using server = await scriptedServer(honest(() => true))
    const person = tokenCallback(
      ({ signal }) =>
        new Promise<never>((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('stopped')))
        }),
      { interactive: true },
    )
    const OAuthClient = pgOAuthClient(Client, { token: person, issuer: ISSUER, ...LOCAL })
    const { host, port } = server
    const config = { host, port, user: 'ann', connectionTimeoutMillis: 100 }
    const pool = new Pool({ ...config, Client: OAuthClient })
    expect(String(await thrownBy(pool.query('select 1')))).toContain('timeout')
    await pool.end()
    expect(tokensAt(server)).toEqual([''])
  })

  it('M10: ending it while the server says nothing ends the login', async () => {
    await using server = await scriptedServer(() => {})
    const client = clientFor(server)
    const failed = thrownBy(client.connect())
    await expect.poll(() => server.peers.length).toBe(1)
    await client.end()
    expect(await failed).toMatchObject({ message: 'Connection terminated' })
  })

  it('M10: has a limit of its own for a login that hangs', async () => {
    await using server = await scriptedServer(() => {})
    expect(await attempt(server, { connectTimeoutMs: 50 })).toMatchObject({
      code: 'ERR_OAUTH_CONNECTION',
      step: 'timeout',
    })
    const hung = () => new Promise<never>(() => {})
    await using asking = await scriptedServer(honest(() => true))
    expect(await attempt(asking, { token: hung, connectTimeoutMs: 50 })).toMatchObject({
      step: 'timeout',
    })
  })

  it('M10, I8: what the server says while the callback is at work is not lost', async () => {
    await using server = await scriptedServer(async (peer) => {
      peer.send(authenticationSASL(['OAUTHBEARER']))
      setTimeout(() => peer.fail('57P03', 'the database system is shutting down'), 20)
    })
    const hung = () => new Promise<never>(() => {})
    expect(await attempt(server, { token: hung })).toMatchObject({ code: '57P03' })
  })

  it('M10, G18: a server that leaves is named with the step', async () => {
    const scripts: [Script, string][] = [
      [(peer) => void peer.socket.end(), 'waiting for the authentication request'],
      [
        async (peer) => {
          await peer.askToken()
          peer.socket.end()
        },
        'waiting for the answer to the token',
      ],
    ]
    for (const [script, step] of scripts) {
      await using server = await scriptedServer(script)
      expect(await attempt(server)).toMatchObject({ code: 'ERR_OAUTH_CONNECTION', step })
    }
  })

  const poison: [string, Script][] = [
    [
      'welcomes in the same breath as the error challenge',
      async (peer) => {
        await peer.askToken()
        peer.send(authenticationSASLContinue(Buffer.from(REFUSAL)), authenticationOk(), READY)
      },
    ],
    ['welcomes without a question', (peer) => peer.send(authenticationOk(), READY)],
    ['is ready without a welcome', (peer) => peer.send(READY)],
    ['asks for a password', (peer) => peer.send(authenticationCleartextPassword())],
    ['asks for GSSAPI', (peer) => peer.send(encodeMessage('R', int32(7)))],
    ['sends a message of 1 GB', (peer) => peer.send(Buffer.from([0x52, 0x40, 0, 0, 0]))],
  ]
  it.each(poison)('M10, M5: a pool gets no client of a server that %s', async (_what, script) => {
    await using server = await scriptedServer(script)
    const { host, port } = server
    const OAuthClient = pgOAuthClient(Client, { token, ...LOCAL })
    const config = { host, port, user: 'ann', password: 'hunter2', max: 1 }
    const pool = new Pool({ ...config, Client: OAuthClient })
    // The pool takes a second word about the same client for a second client.
    const words: unknown[] = []
    pool.connect((error, client) => words.push(error ?? client))
    await expect.poll(() => pool.totalCount).toBe(0)
    await new Promise((resolve) => setImmediate(resolve))
    expect(words).toMatchObject([{ code: 'ERR_OAUTH_PROTOCOL' }])
    await pool.end()
    expect(server.peers[0]!.received.join('')).not.toContain('hunter2')
  })

  it('M10, G10: a server that asks for nothing is taken where the user said so', async () => {
    await using server = await scriptedServer(async (peer) => {
      peer.welcome()
      await peer.serve()
    })
    let calls = 0
    const counted = () => {
      calls += 1
      return credential(TOKEN)
    }
    expect(await attempt(server, { token: counted, requireAuth: 'oauth,none' })).toBeUndefined()
    expect(calls).toBe(0)
  })

  it('M10: a server that asks again after its welcome gets no password', async () => {
    for (const again of [
      authenticationCleartextPassword(),
      encodeMessage('R', Buffer.concat([int32(5), int32(1)])),
      authenticationSASL(['SCRAM-SHA-256']),
      authenticationSASLContinue(Buffer.from('r=x')),
      encodeMessage('R', Buffer.concat([int32(12), Buffer.from('v=x')])),
    ]) {
      await using server = await scriptedServer(async (peer) => {
        await peer.askToken()
        peer.send(authenticationOk(), again)
        await peer.read()
      })
      const error = await attempt(server, {}, { password: 'hunter2' })
      expect(error).toMatchObject({ code: 'ERR_OAUTH_PROTOCOL' })
      expect(server.peers[0]!.received).toHaveLength(1)
    }
  })

  it('M10: together with pgOAuth it gets nowhere', async () => {
    await using server = await scriptedServer(honest(() => true))
    const twice = pgOAuth({ token, tls: false, ...LOCAL })
    expect(await attempt(server, {}, twice)).toMatchObject({ code: 'ERR_INSECURE_TRANSPORT' })
    expect(tokensAt(server)).toEqual([])
  })
})

describe('the driver’s own transport', () => {
  let calls = 0
  const counted = (): { accessToken: string } => {
    calls += 1
    return credential(TOKEN)
  }
  const refusal = async (
    server: Pick<ScriptedServer, 'host' | 'port'>,
    config: object,
    options: Partial<PgClientOAuthOptions> = {},
  ): Promise<unknown> => {
    calls = 0
    const error = await attempt(server, { insecure: undefined, token: counted, ...options }, config)
    expect(calls).toBe(error === undefined ? 1 : 0)
    return error
  }

  it('H11: is refused where it is plain, and the server hears nothing at all', async () => {
    await using server = await scriptedServer(honest(() => true))
    expect(await refusal(server, { ssl: false })).toMatchObject({
      code: 'ERR_INSECURE_TRANSPORT',
      message: `no token may be sent to 127.0.0.1 port ${server.port}: the connection is not encrypted`,
    })
    expect(server.accepted).toBe(1)
    expect(server.peers).toHaveLength(0)
  })

  it('H11: is refused where the driver was told not to verify', async () => {
    await using server = await scriptedServer(
      honest(() => true),
      { tls: await authority.issue() },
    )
    const ca = authority.cert
    for (const ssl of [{ rejectUnauthorized: false }, { ca: 'x', rejectUnauthorized: false }]) {
      expect(await refusal(server, { ssl })).toMatchObject({ code: 'ERR_INSECURE_TRANSPORT' })
    }
    const text = `postgresql://ann@127.0.0.1:${server.port}/?sslmode=no-verify`
    expect(await refusal(server, { connectionString: text })).toMatchObject({
      code: 'ERR_INSECURE_TRANSPORT',
    })
    expect(server.peers).toHaveLength(0)
    expect(await refusal(server, { ssl: { ca } })).toBeUndefined()
    // What verifies all the same is as good as if it had been asked for.
    expect(await refusal(server, { ssl: { ca, rejectUnauthorized: false } })).toBeUndefined()
  })

  it('H11: is refused where the name is another, also if the driver was told not to look', async () => {
    await using server = await scriptedServer(
      honest(() => true),
      { tls: await authority.issue({ names: ['other.example'] }) },
    )
    const { port } = server
    const ssl = { ca: authority.cert, checkServerIdentity: () => undefined }
    for (const host of ['127.0.0.1', 'localhost']) {
      expect(await refusal({ host, port }, { ssl })).toMatchObject({
        code: 'ERR_INSECURE_TRANSPORT',
        message: expect.stringContaining('does not match certificate') as string,
      })
    }
    expect(server.peers).toHaveLength(0)
    const named = { ca: authority.cert, servername: 'other.example' }
    expect(await refusal({ host: '127.0.0.1', port }, { ssl: named })).toBeUndefined()
    // For a host that has a name pg looks for that one, whatever `servername` is.
    expect(await refusal({ host: 'localhost', port }, { ssl: named })).toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
  })

  it('H11: is refused where it is a stream that says nothing of itself', async () => {
    await using server = await scriptedServer(honest(() => true))
    const stream = (): Duplex => {
      const socket = new net.Socket()
      const proxy = Duplex.from({ readable: socket, writable: socket })
      return Object.assign(proxy, {
        setNoDelay() {},
        connect(port: number, host: string) {
          socket.connect(port, host, () => proxy.emit('connect'))
        },
      })
    }
    const insecure = 'loopback-only'
    expect(await refusal(server, { stream }, { insecure })).toMatchObject({
      code: 'ERR_INSECURE_TRANSPORT',
      message: expect.stringContaining('nobody can tell') as string,
    })
    expect(server.peers).toHaveLength(0)
  })

  it('H11: may be plain to this machine, or to anywhere, where the user says so', async () => {
    await using server = await scriptedServer(honest(() => true))
    expect(await refusal(server, {}, { insecure: 'loopback-only' })).toBeUndefined()
    const lines: unknown[] = []
    const log = { debug() {}, warning: (text: string) => lines.push(text) }
    const options = { allowInsecureTransport: true, log }
    const OAuthClient = pgOAuthClient(Client, { token, ...options })
    for (let n = 0; n < 2; n += 1) {
      const client = new OAuthClient({ host: server.host, port: server.port, user: 'ann' })
      await client.connect()
      await client.end()
    }
    expect(lines).toEqual(['tokens are sent over a connection that is not secured'])
  })

  it('H11: a host that only looks like a Unix socket is none', async () => {
    await using server = await scriptedServer(honest(() => true))
    const stream = (): net.Socket => {
      class Elsewhere extends net.Socket {
        override connect(): this {
          return super.connect(server.port, '127.0.0.1')
        }
      }
      return new Elsewhere()
    }
    expect(await refusal({ host: '/tmp', port: 1 }, { stream })).toMatchObject({
      code: 'ERR_INSECURE_TRANSPORT',
    })
  })

  it('H10, H11: may begin with TLS', async () => {
    const certificate = await authority.issue()
    await using server = await scriptedServer(
      honest(() => true),
      { tls: certificate, direct: true },
    )
    const direct = { ssl: { ca: authority.cert }, sslnegotiation: 'direct' }
    expect(await refusal(server, direct)).toBeUndefined()
    expect(server.peers[0]!.socket).toBeInstanceOf(tls.TLSSocket)
    const loose = { ssl: { rejectUnauthorized: false }, sslnegotiation: 'direct' }
    expect(await refusal(server, loose)).toMatchObject({ code: 'ERR_INSECURE_TRANSPORT' })
  })

  it('H11: that begins with TLS is refused where the server did not agree to speak PostgreSQL', async () => {
    let received = 0
    const server = tls.createServer(await authority.issue(), (socket) => {
      socket.on('error', () => {})
      socket.on('data', (bytes: Buffer) => {
        received += bytes.length
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    try {
      const { port } = server.address() as net.AddressInfo
      const direct = { ssl: { ca: authority.cert }, sslnegotiation: 'direct' }
      expect(await refusal({ host: '127.0.0.1', port }, direct)).toMatchObject({
        code: 'ERR_OAUTH_PROTOCOL',
        message: 'direct SSL connection was established without ALPN',
      })
      expect(received).toBe(0)
    } finally {
      server.close()
    }
  })
})
