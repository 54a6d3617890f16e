import { once } from 'node:events'
import { inspect } from 'node:util'
import { Client, Query } from 'pg'
import postgres from 'postgres'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  type PgClientOAuthOptions,
  TokenConfigError,
  TokenProvider,
  credential,
  pgOAuth,
  pgOAuthClient,
  postgresOAuth,
} from '../../../src/client/index.ts'
import {
  type CertificateAuthority,
  createCertificateAuthority,
} from '../../../src/demo/certificates.ts'
import {
  authenticationCleartextPassword,
  authenticationOk,
  authenticationSASLContinue,
} from '../../../src/protocol/backend-messages.ts'
import { CANCEL_REQUEST_CODE } from '../../../src/protocol/limits.ts'
import { cString, encodeMessage, int32 } from '../../../src/protocol/message.ts'
import { DRIVERS, byClass as pgByClass } from '../support/drivers.ts'
import {
  type Peer,
  READY,
  REFUSAL,
  type Script,
  type ScriptedServer,
  honest,
  scriptedServer,
} from '../support/scripted-server.ts'

const LOCAL = { tls: false, insecure: 'loopback-only' } as const
const TOKEN = 'driver-secret-token'

const thrownBy = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => error,
  )

const tokensAt = (server: ScriptedServer): string[] =>
  server.peers.flatMap((peer) =>
    peer.received
      .map((bytes) => /auth=(?:Bearer )?([^\x01]*)\x01/.exec(bytes.toString('latin1'))?.[1])
      .filter((token) => token !== undefined),
  )

let authority: CertificateAuthority
beforeAll(async () => {
  authority = await createCertificateAuthority()
})

describe.each([
  ['pg', DRIVERS.pg],
  ['M10: pg by class', DRIVERS['pg by class']],
  ['postgres', DRIVERS.postgres],
])('%s', (name, driver) => {
  const byClass = name.startsWith('M10')
  let calls = 0
  afterEach(() => {
    calls = 0
  })
  const token = (): { accessToken: string } => {
    calls += 1
    return credential(TOKEN)
  }
  const local = { ...LOCAL, token }
  // What the driver says when a session is cut off during a query.
  const cut = name !== 'postgres' ? 'Connection terminated unexpectedly' : 'CONNECTION_CLOSED'

  it('M1, M3: logs in, asks and ends', async () => {
    await using server = await scriptedServer(honest((sent) => sent === TOKEN))
    expect(await driver.once(server, local)).toEqual([{ one: 1 }])
    expect(calls).toBe(1)
    expect(server.peers[0]?.received.at(-1)?.toString('latin1', 0, 1)).toBe('X')
  })

  it('M1, M3: logs in over verified TLS and over a Unix socket', async () => {
    await using secured = await scriptedServer(
      honest(() => true),
      { tls: await authority.issue() },
    )
    const tls = { ca: authority.cert }
    expect(await driver.once(secured, { tls, token })).toEqual([{ one: 1 }])
    await using unix = await scriptedServer(
      honest(() => true),
      { unix: true },
    )
    const extra = name === 'postgres' ? { path: `${unix.host}/.s.PGSQL.5432` } : {}
    expect(await driver.once(unix, { token }, extra)).toEqual([{ one: 1 }])
  })

  it('H11: an unverified server gets no token and the application hears why', async () => {
    await using server = await scriptedServer(
      honest(() => true),
      { tls: await authority.issue() },
    )
    // What is not verified by the driver is not verified by us.
    const tls = byClass ? { rejectUnauthorized: false } : {}
    const error = await thrownBy(driver.once(server, { tls, token }))
    expect(error).toMatchObject({ code: 'ERR_INSECURE_TRANSPORT' })
    expect(calls).toBe(0)
    expect(server.peers).toHaveLength(0)
    await using plain = await scriptedServer(
      honest(() => true),
      { sslAnswer: 'N' },
    )
    const refused = await thrownBy(driver.once(plain, { tls, token }))
    expect(refused).toMatchObject(
      byClass
        ? { message: 'The server does not support SSL connections' }
        : { code: 'ERR_INSECURE_TRANSPORT' },
    )
    expect(calls).toBe(0)
    expect(plain.peers).toHaveLength(0)
  })

  it('M2, M3: a pool of three opens three connections with one call', async () => {
    await using server = await scriptedServer(honest(() => true))
    await using pool = driver.pool(server, local, 3)
    await Promise.all([pool.query('select 1'), pool.query('select 1'), pool.query('select 1')])
    expect(server.peers).toHaveLength(3)
    expect(calls).toBe(1)
  })

  it('D2: 10 workers with 100 queries each over a pool make one call', async () => {
    await using server = await scriptedServer(honest(() => true))
    await using pool = driver.pool(server, local, 10)
    const worker = async (): Promise<void> => {
      for (let n = 0; n < 100; n += 1) {
        expect(await pool.query('select 1')).toEqual([{ one: 1 }])
      }
    }
    await Promise.all(Array.from({ length: 10 }, worker))
    expect(calls).toBe(1)
    expect(new Set(tokensAt(server))).toEqual(new Set([TOKEN]))
  })

  it('A5: options that are changed after they were handed over have no effect', async () => {
    const stranger = await createCertificateAuthority()
    await using server = await scriptedServer(
      honest(() => true),
      { tls: await authority.issue() },
    )
    const ca = [stranger.cert]
    const tls: { ca: string[]; rejectUnauthorized?: boolean } = { ca }
    const options = { tls, token, requireAuth: 'oauth', allowInsecureTransport: false }
    await using pool = driver.pool(server, options, 1)
    if (!byClass) {
      ca.push(authority.cert)
      tls.rejectUnauthorized = false
    }
    options.allowInsecureTransport = true
    options.token = () => credential('another')
    expect(await thrownBy(pool.query('select 1'))).toBeInstanceOf(Error)
    expect(server.peers).toHaveLength(0)
    expect(calls).toBe(0)
  })

  it('M4: a refused token reaches the application as 28000', async () => {
    await using server = await scriptedServer(honest(() => false))
    const error = await thrownBy(driver.once(server, local))
    expect(error).toMatchObject({ code: '28000' })
    expect((error as Error).message).toContain('OAuth bearer authentication failed for user "ann"')
    expect(calls).toBe(1)
  })

  it('M4: so does any other refusal', async () => {
    await using server = await scriptedServer((peer) => peer.fail('53300', 'sorry'))
    expect(await thrownBy(driver.once(server, local))).toMatchObject({ code: '53300' })
    expect(calls).toBe(0)
  })

  it('D8: another failure, before or after the token or the welcome, leaves the held token alone', async () => {
    const failures: Script[] = [
      (peer) => peer.fail('53300', 'sorry, too many clients already'),
      async (peer) => {
        await peer.askToken()
        peer.fail('57P03', 'the database system is shutting down')
      },
      async (peer) => {
        await peer.askToken()
        peer.send(authenticationOk())
        peer.fail('3D000', 'database "ann" does not exist')
      },
    ]
    for (const [at, sqlState] of ['53300', '57P03', '3D000'].entries()) {
      await using server = await scriptedServer(async (peer, index) =>
        (index === 1 ? failures[at]! : honest(() => true))(peer, index),
      )
      let made = 0
      const provider = new TokenProvider(() => {
        made += 1
        return credential(`t${made}`)
      })
      const options = { ...LOCAL, token: provider }
      await driver.once(server, options)
      expect(await thrownBy(driver.once(server, options))).toMatchObject({ code: sqlState })
      expect(provider.peek()?.accessToken).toBe('t1')
      expect(await driver.once(server, options)).toEqual([{ one: 1 }])
      expect(server.peers).toHaveLength(3)
      expect(new Set(tokensAt(server))).toEqual(new Set(['t1']))
      expect(made).toBe(1)
    }
  })

  it('M5: a welcome after an error challenge gives no connection', async () => {
    const scripts: Script[] = [
      async (peer) => {
        await peer.askToken()
        peer.send(authenticationSASLContinue(Buffer.from(REFUSAL)), authenticationOk(), READY)
      },
      async (peer) => {
        await peer.askToken()
        peer.send(authenticationSASLContinue(Buffer.from(REFUSAL)))
        await peer.read()
        peer.welcome()
      },
    ]
    for (const script of scripts) {
      await using server = await scriptedServer(script)
      expect(await thrownBy(driver.once(server, local))).toMatchObject({
        code: 'ERR_OAUTH_PROTOCOL',
      })
    }
  })

  it('M5: a server that asks for a password instead gets nothing', async () => {
    await using server = await scriptedServer((peer) =>
      peer.send(authenticationCleartextPassword()),
    )
    const error = await thrownBy(driver.once(server, local, { password: 'hunter2' }))
    expect(error).toMatchObject({ code: 'ERR_OAUTH_PROTOCOL' })
    expect(server.peers[0]?.received).toEqual([])
  })

  it('M6: encryption in two places is a configuration error', async () => {
    if (byClass) {
      for (const twice of [{ tls: {} }, { tls: false }, { sslnegotiation: 'direct' }] as const) {
        expect(() =>
          pgOAuthClient(Client, { token, ...twice } as object as PgClientOAuthOptions),
        ).toThrow('TLS is the driver’s here')
      }
      return
    }
    await using server = await scriptedServer(honest(() => true))
    const error = await thrownBy(driver.once(server, local, { ssl: true }))
    expect(error).toBeInstanceOf(TokenConfigError)
    expect((error as Error).message).toContain('encryption must be off in the driver')
    expect(server.accepted).toBe(0)
  })

  it('M9: the session is the server’s bytes and the driver’s bytes', async () => {
    await using server = await scriptedServer(honest(() => true))
    await driver.once(server, local, { application_name: 'x' })
    const startup = server.peers[0]!.startup
    expect(startup.readUInt32BE(4)).toBe(0x30000)
    expect(startup.readUInt32BE(0)).toBe(startup.length)
    const types = server.peers[0]!.received.map((bytes) => bytes.toString('latin1', 0, 1))
    expect(types[0]).toBe('p')
    expect(types.filter((type) => type === 'p')).toHaveLength(1)
  })

  it('D6, D9: a held token that is refused is replaced without the driver noticing', async () => {
    const valid = new Set(['t1'])
    await using server = await scriptedServer(honest((sent) => valid.has(sent)))
    let made = 0
    const provider = new TokenProvider(() => {
      made += 1
      return credential(`t${made}`)
    })
    await driver.once(server, { ...LOCAL, token: provider })
    valid.clear()
    valid.add('t2')
    expect(await driver.once(server, { ...LOCAL, token: provider })).toEqual([{ one: 1 }])
    expect(tokensAt(server)).toEqual(['t1', 't1', 't2'])
  })

  it('D9, D10, D11, F3, F4: a pool whose session was ended logs in again, and what failed is not repeated', async () => {
    const valid = new Set(['t1'])
    let ended = false
    const statements: string[] = []
    await using server = await scriptedServer(async (peer) => {
      if (!valid.has((await peer.askToken()) ?? '')) {
        await peer.refuse(REFUSAL)
        return
      }
      peer.welcome()
      await peer.serve((sql) => {
        statements.push(sql)
        if (sql === 'write' && !ended) {
          ended = true
          valid.clear()
          valid.add('t2')
          peer.socket.destroy()
          return true
        }
        return false
      })
    })
    let made = 0
    const provider = new TokenProvider(() => {
      made += 1
      return credential(`t${made}`)
    })
    await using pool = driver.pool(server, { ...LOCAL, token: provider }, 1)
    await pool.query('read')
    expect(String(await thrownBy(pool.query('write')))).toContain(cut)
    expect(await pool.query('after')).toEqual([{ one: 1 }])
    expect(statements.filter((sql) => sql === 'write')).toHaveLength(1)
    expect(made).toBe(2)
  })

  it('F1, F2: reads and writes of one session need one call and one login', async () => {
    const statements: string[] = []
    await using server = await scriptedServer(async (peer) => {
      await peer.askToken()
      peer.welcome()
      await peer.serve((sql) => {
        statements.push(sql)
        return false
      })
    })
    await using pool = driver.pool(server, local, 1)
    for (const sql of ['read', 'write', 'read']) {
      expect(await pool.query(sql)).toEqual([{ one: 1 }])
    }
    expect(statements).toEqual(['read', 'write', 'read'])
    expect(tokensAt(server)).toEqual([TOKEN])
    expect(calls).toBe(1)
  })

  it.each(['read', 'write'])(
    'D10, D11: a %s fails where the session has expired and the next token is bad, too',
    async (statement) => {
      const statements: string[] = []
      const sessions: Peer[] = []
      await using server = await scriptedServer(async (peer) => {
        // The first token is good for the first login alone.
        if ((await peer.askToken()) !== 't1' || sessions.length > 0) {
          await peer.refuse(REFUSAL)
          return
        }
        sessions.push(peer)
        peer.welcome()
        await peer.serve((sql) => {
          statements.push(sql)
          return false
        })
      })
      let made = 0
      const provider = new TokenProvider(() => {
        made += 1
        return credential(`t${made}`)
      })
      await using pool = driver.pool(server, { ...LOCAL, token: provider }, 1)
      expect(await pool.query(statement)).toEqual([{ one: 1 }])
      sessions[0]!.fail('57P01', 'terminating connection because the token has expired')
      await once(sessions[0]!.socket, 'close')
      // Whether the driver has noticed yet is its own affair: sooner or later it has to log in.
      let error = await thrownBy(pool.query(statement))
      if ((error as { code?: string }).code !== '28000') {
        error = await thrownBy(pool.query(statement))
      }
      expect(error).toMatchObject({ code: '28000' })
      expect(made).toBe(2)
      expect(tokensAt(server)).toEqual(['t1', 't1', 't2'])
      expect(statements).toEqual([statement])
    },
  )

  it('D13: a transaction that was cut off is reported, not replayed', async () => {
    const statements: string[] = []
    await using server = await scriptedServer(async (peer, index) => {
      await peer.askToken()
      peer.welcome()
      await peer.serve((sql) => {
        statements.push(`${index}:${sql}`)
        if (sql === 'insert') {
          peer.socket.destroy()
          return true
        }
        return false
      })
    })
    await using pool = driver.pool(server, local, 1)
    await pool.query('begin')
    expect(String(await thrownBy(pool.query('insert')))).toContain(cut)
    await pool.query('select 1')
    expect(statements).toEqual(['0:begin', '0:insert', '1:select 1'])
  })

  it('M13, O2: no object of the driver shows the token', async () => {
    await using server = await scriptedServer(honest(() => true))
    const options = name === 'pg' ? pgOAuth(local) : postgresOAuth(local)
    expect(inspect(options, { depth: 9, showHidden: true })).not.toContain(TOKEN)
    if (name !== 'postgres') {
      const way = byClass ? pgByClass(local) : { Client, config: pgOAuth(local) }
      const client = new way.Client({ ...server, user: 'ann', ...way.config })
      await client.connect()
      await client.query('select 1')
      expect(inspect(client, { depth: 20, showHidden: true })).not.toContain(TOKEN)
      await client.end()
    } else {
      const sql = postgres({ ...server, user: 'ann', fetch_types: false, ...postgresOAuth(local) })
      await sql.unsafe('select 1')
      expect(inspect(sql, { depth: 20, showHidden: true })).not.toContain(TOKEN)
      await sql.end()
    }
  })

  it('a connection that fails leaves the pool usable', async () => {
    let failures = 2
    await using server = await scriptedServer(honest(() => true))
    const flaky = (): { accessToken: string } => {
      failures -= 1
      if (failures >= 0) {
        throw new Error('the issuer is down')
      }
      return credential(TOKEN)
    }
    await using pool = driver.pool(server, { ...LOCAL, token: flaky }, 1)
    expect(await thrownBy(pool.query('one'))).toMatchObject({ code: 'ERR_TOKEN_CALLBACK' })
    expect(await thrownBy(pool.query('two'))).toMatchObject({ code: 'ERR_TOKEN_CALLBACK' })
    expect(await pool.query('three')).toEqual([{ one: 1 }])
  })

  it('M3: the driver’s own connect timeout ends a login that hangs', async () => {
    await using server = await scriptedServer(() => {})
    const extra = name !== 'postgres' ? { connectionTimeoutMillis: 100 } : { connect_timeout: 0.1 }
    const error = await thrownBy(driver.once(server, local, extra))
    expect((error as Error).message).toMatch(/timeout/i)
  })

  it('M1: a server that goes away during a query is an error of that query', async () => {
    await using server = await scriptedServer(async (peer) => {
      await peer.askToken()
      peer.welcome()
      await peer.serve((_sql) => {
        peer.socket.destroy()
        return true
      })
    })
    await using pool = driver.pool(server, local, 1)
    const error = await thrownBy(pool.query('select 1'))
    expect(error).toBeInstanceOf(Error)
  })

  it('M7: a large result with a slow reader arrives whole', async () => {
    const rows = 2000
    const cell = Buffer.alloc(8192, 'x')
    const row = encodeMessage('D', Buffer.concat([Buffer.from([0, 1]), int32(cell.length), cell]))
    const description = encodeMessage(
      'T',
      Buffer.concat([
        Buffer.from([0, 1]),
        cString('c'),
        int32(0),
        Buffer.from([0, 0]),
        int32(25),
        Buffer.from([255, 255]),
        int32(-1),
        Buffer.from([0, 0]),
      ]),
    )
    await using server = await scriptedServer(async (peer) => {
      await peer.askToken()
      peer.welcome()
      await peer.serve(() => {
        peer.send(
          description,
          ...Array.from({ length: rows }, () => row),
          encodeMessage('C', cString(`SELECT ${rows}`)),
          encodeMessage('Z', Buffer.from('I')),
        )
        return true
      })
    })
    await using pool = driver.pool(server, local, 1)
    const got = (await pool.query('large')) as { c: string }[]
    expect(got).toHaveLength(rows)
    expect(got.every(({ c }) => c.length === cell.length)).toBe(true)
  })

  it('D19: retires connections that are older than the tokens live', async () => {
    const options = { ...local, maxTokenAge: 1800 }
    if (name === 'pg') {
      expect(pgOAuth(options)).toMatchObject({ maxLifetimeSeconds: 1800 })
    }
    if (name === 'postgres') {
      expect(postgresOAuth(options)).toMatchObject({ max_lifetime: 1800 })
    }
    await using server = await scriptedServer(honest(() => true))
    await using pool = driver.pool(server, { ...local, maxTokenAge: 0.05 }, 1)
    await pool.query('select 1')
    while (server.peers[0]?.socket.destroyed === false) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await pool.query('select 1')
    expect(server.peers).toHaveLength(2)
  })
})

describe('pg', () => {
  const token = (): { accessToken: string } => credential(TOKEN)

  it('M1: cancels a query over a connection of its own, without a token', async () => {
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
    const config = { ...server, user: 'ann', ...pgOAuth({ ...LOCAL, token }) }
    const client = new Client(config)
    await client.connect()
    const query = new Query('sleep')
    const failed = new Promise<unknown>((resolve) => query.once('error', resolve))
    client.query(query)
    const canceller = new Client(config)
    ;(canceller as unknown as { cancel(c: unknown, q: unknown): void }).cancel(client, query)
    expect(await failed).toMatchObject({ code: '57014' })
    expect(cancels).toEqual([
      Buffer.concat([int32(16), int32(CANCEL_REQUEST_CODE), int32(7), int32(9)]),
    ])
    await client.end()
  })

  it('M11: an option of a later pg does not get in the way', async () => {
    await using server = await scriptedServer(honest((sent) => sent === TOKEN))
    const config = { ...server, user: 'ann', oauthBearerToken: 'of-the-driver' }
    const client = new Client({ ...config, ...pgOAuth({ ...LOCAL, token }) })
    await client.connect()
    await client.end()
    expect(tokensAt(server)).toEqual([TOKEN])
  })

  it('M1: a connection that is destroyed while it logs in leaves nothing behind', async () => {
    await using server = await scriptedServer(async (peer) => {
      await peer.read()
    })
    const client = new Client({ ...server, user: 'ann', ...pgOAuth({ ...LOCAL, token }) })
    // pg settles neither way when it is ended before it was connected.
    client.connect().catch(() => {})
    while (server.peers.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await client.end()
    while (server.peers[0]?.socket.destroyed === false) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })
})

describe('postgres', () => {
  const token = (): { accessToken: string } => credential(TOKEN)

  it('M3: cancels a query over a connection of its own, without a token', async () => {
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
    const options = postgresOAuth({ ...LOCAL, token })
    const sql = postgres({ ...server, user: 'ann', max: 1, fetch_types: false, ...options })
    const query = sql.unsafe('sleep').simple()
    const failed = query.catch((error: unknown) => error)
    while (sessions[0]?.received.at(-1)?.toString('latin1', 0, 1) !== 'Q') {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    query.cancel()
    expect(await failed).toMatchObject({ code: '57014' })
    expect(cancels).toHaveLength(1)
    await sql.end({ timeout: 1 })
  })

  it('G24: offers the token to the first host that can be reached and to no other', async () => {
    await using server = await scriptedServer(honest(() => true))
    await using never = await scriptedServer(honest(() => true))
    const gone = await scriptedServer(() => {})
    await gone[Symbol.asyncDispose]()
    const sql = postgres({
      host: [gone, server, never].map(({ port }) => `127.0.0.1:${port}`).join(','),
      user: 'ann',
      fetch_types: false,
      max: 1,
      ...postgresOAuth({ ...LOCAL, token }),
    })
    await sql.unsafe('select 1')
    await sql.end({ timeout: 1 })
    expect(tokensAt(server)).toEqual([TOKEN])
    expect(never.accepted).toBe(0)
  })

  it('G24: does not go on to the next host when the token is refused', async () => {
    await using refusing = await scriptedServer(honest(() => false))
    await using other = await scriptedServer(honest(() => true))
    const sql = postgres({
      host: [refusing, other].map(({ port }) => `127.0.0.1:${port}`).join(','),
      user: 'ann',
      fetch_types: false,
      max: 1,
      ...postgresOAuth({ ...LOCAL, token }),
    })
    const error = await thrownBy(Promise.resolve(sql.unsafe('select 1')))
    expect(error).toMatchObject({ code: '28000' })
    await sql.end({ timeout: 1 })
    expect(other.accepted).toBe(0)
  })
})
