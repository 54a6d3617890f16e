import { randomUUID } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'

import { type Conninfo, formatConninfo, libpqConnect, startLibpq } from '../../src/demo/libpq.ts'
import { withCertificates } from '../support/certificates.ts'
import { withLibpq } from '../support/libpq.ts'
import { perFile } from '../support/per-file.ts'
import { startPostgres } from '../support/postgres.ts'
import { eventually, processExists, processesWith } from '../support/processes.ts'
import { bytes, int32, message } from '../support/wire-bytes.ts'

const libpq = withLibpq()

describe('with a real server', () => {
  const certificates = withCertificates()
  const password = "it's a \\ secret"
  const server = perFile(async () => {
    const { server: ssl, authority } = certificates()
    const postgres = await startPostgres({ ssl: { ...ssl, ca: authority.cert } })
    await postgres.query("CREATE ROLE alice LOGIN PASSWORD 'it''s a \\ secret'")
    return postgres
  })
  const alice = (more: Conninfo = {}): Conninfo => ({
    host: '127.0.0.1',
    port: server().port,
    user: 'alice',
    dbname: 'postgres',
    password,
    sslmode: 'disable',
    ...more,
  })

  test('logs in with a password and reports what the server said', async () => {
    const outcome = await libpqConnect({
      conninfo: alice({ require_auth: 'scram-sha-256' }),
      statements: ['SELECT current_user, NULL', 'SELECT pg_backend_pid()'],
    })
    expect(outcome).toMatchObject({
      ok: true,
      error: '',
      usedPassword: true,
      tls: undefined,
      protocolVersion: 30_000,
      parameterStatus: { server_encoding: 'UTF8', session_authorization: 'alice' },
    })
    expect(outcome.results[0]?.rows).toEqual([['alice', null]])
    expect(outcome.rows).toEqual([[String(outcome.backendPid)]])
  })

  test('says in its own words that the password is wrong', async () => {
    const { ok, error } = await libpqConnect({ conninfo: alice({ password: 'wrong' }) })
    expect(ok).toBe(false)
    expect(error).toBe(
      `connection to server at "127.0.0.1", port ${server().port} failed: ` +
        'FATAL:  password authentication failed for user "alice"\n',
    )
  })

  test('says in its own words that nobody listens', async () => {
    await expect(libpq().connect({ conninfo: alice({ port: 1 }) })).rejects.toThrow(
      'Connection refused',
    )
  })

  test('says in its own words that a keyword is unknown', async () => {
    const { ok, error } = await libpq().login({ conninfo: 'no_such=keyword' })
    expect({ ok, error }).toEqual({ ok: false, error: 'invalid connection option "no_such"\n' })
  })

  test('stops at the first statement that fails', async () => {
    const { ok, error, results } = await libpqConnect({
      conninfo: alice(),
      statements: ['SELECT 1', 'SELECT 1/0', 'SELECT 2'],
    })
    expect({ ok, error }).toEqual({ ok: false, error: 'ERROR:  division by zero\n' })
    expect(results.map(({ sqlState }) => sqlState)).toEqual([undefined, '22012'])
  })

  test('speaks protocol 3.2 when asked', async () => {
    const connection = await libpq().connect({ conninfo: alice({ max_protocol_version: '3.2' }) })
    expect(connection.protocolVersion).toBe(30_002)
    await connection.close()
  })

  test('connects by Unix socket', async () => {
    const connection = await libpq().connect({
      conninfo: alice({ host: server().socketDirectory }),
    })
    const { rows } = await connection.execute('SELECT inet_server_addr()')
    expect(rows).toEqual([[null]])
    await connection.close()
  })

  test.each(['postgres', 'direct'])(
    'negotiates TLS the %s way and checks the certificate',
    async (sslnegotiation) => {
      const { ca } = certificates().files
      const conninfo = alice({ sslmode: 'verify-full', sslrootcert: ca, sslnegotiation })
      const connection = await libpq().connect({ conninfo })
      expect(connection.tls).toMatchObject({ protocol: 'TLSv1.3', alpn: 'postgresql' })
      await connection.close()
    },
  )

  test('refuses a certificate of an authority it was not told to trust', async () => {
    const { strangeCa } = certificates().files
    const { error } = await libpq().login({
      conninfo: alice({ sslmode: 'verify-full', sslrootcert: strangeCa }),
    })
    expect(error).toContain('certificate verify failed')
  })

  test('uses channel binding where it is required', async () => {
    const conninfo = alice({ sslmode: 'require', channel_binding: 'require' })
    const connection = await libpq().connect({ conninfo })
    await connection.close()
    const { error } = await libpq().login({ conninfo: { ...conninfo, sslmode: 'disable' } })
    expect(error).toContain('channel binding required, but SSL not in use')
  })

  test('copies in and out, and much of it', async () => {
    const connection = await libpq().connect({ conninfo: alice() })
    const line = `${'x'.repeat(9999)}\n`
    const { results } = await connection.execute(
      'CREATE TEMP TABLE t (a text); COPY t FROM STDIN; COPY t TO STDOUT',
      { copyIn: Array.from({ length: 500 }, () => line) },
    )
    expect(results.map(({ command }) => command)).toContain('COPY 500')
    const copied = results.find((result) => result.copied !== undefined)?.copied
    expect(Buffer.from(copied ?? []).equals(Buffer.from(line.repeat(500)))).toBe(true)
    await connection.close()
  })

  test('passes parameters by the extended protocol', async () => {
    const connection = await libpq().connect({ conninfo: alice() })
    const { rows } = await connection.execute('SELECT $1::int + 1, $2::text', {
      parameters: ['41', null],
    })
    expect(rows).toEqual([['42', null]])
    await connection.close()
  })

  test('cancels a statement', async () => {
    const connection = await libpq().connect({ conninfo: alice() })
    const sleeping = connection.execute('SELECT pg_sleep(600)')
    await eventually(async () => {
      const sql = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid = $1"
      return (await server().query(sql, [connection.backendPid])).length === 1
    })
    expect(await connection.cancel()).toBe('')
    expect(await sleeping).toMatchObject({
      ok: false,
      error: 'ERROR:  canceling statement due to user request\n',
    })
    await connection.close()
  })

  test('passes notices and notifications on', async () => {
    const [listener, sender] = await Promise.all([
      libpq().connect({ conninfo: alice() }),
      libpq().connect({ conninfo: alice() }),
    ])
    const { notices } = await listener.execute("LISTEN a; DO $$BEGIN RAISE NOTICE 'hello'; END$$")
    expect(notices).toEqual(['NOTICE:  hello\n'])
    const notified = listener.notifications()
    await sender.execute("NOTIFY a, 'b'")
    expect(await notified).toEqual([{ channel: 'a', pid: sender.backendPid, payload: 'b' }])
    await Promise.all([listener.close(), sender.close()])
  })

  test('serves many connections in one process at the same time', async () => {
    const connections = await Promise.all(
      Array.from({ length: 20 }, () => libpq().connect({ conninfo: alice() })),
    )
    // Each waits for a lock that the last one holds: they only end if they run side by side.
    const last = connections.at(-1)!
    await last.execute('SELECT pg_advisory_lock(1)')
    const waiting = connections
      .slice(0, -1)
      .map((connection) =>
        connection.execute('SELECT pg_advisory_lock_shared(1), pg_backend_pid()'),
      )
    await eventually(async () => {
      const rows = await server().query(
        "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
      )
      return rows.length === 19
    })
    await last.execute('SELECT pg_advisory_unlock(1)')
    const pids = (await Promise.all(waiting)).map(({ rows }) => rows[0]?.[1])
    expect(pids).toEqual(connections.slice(0, -1).map(({ backendPid }) => String(backendPid)))
    await Promise.all(connections.map((connection) => connection.close()))
  })

  test('reports a session that the server ended', async () => {
    const connection = await libpq().connect({ conninfo: alice() })
    await connection.execute('SELECT pg_terminate_backend(pg_backend_pid())')
    const { ok, error } = await connection.execute('SELECT 1')
    expect({ ok, error }).toEqual({ ok: false, error: 'no connection to the server\n' })
    await connection.close()
  })

  test('closes a connection when its signal aborts', async () => {
    const leaving = new AbortController()
    const connection = await libpq().connect({ conninfo: alice(), signal: leaving.signal })
    const sleeping = connection.execute('SELECT pg_sleep(600)')
    leaving.abort()
    await expect(sleeping).rejects.toThrow('the connection was closed')
    await expect(connection.execute('SELECT 1')).rejects.toThrow('the connection is closed')
  })
})

describe('its process', () => {
  test('is gone when it is stopped, and its connections fail', async () => {
    const own = await startLibpq()
    const server = await fakeServer(() => {})
    const login = own.login({ conninfo: server.conninfo })
    await eventually(() => server.connections() === 1)
    const [before] = [processesWith('libpq-child').length]
    await Promise.all([expect(login).rejects.toThrow('the process of libpq is gone'), own.stop()])
    expect(before).toBeGreaterThan(0)
    await expect(own.login({ conninfo: server.conninfo })).rejects.toThrow('is gone')
  })

  test('takes nothing from the environment or the home directory', async () => {
    process.env['PGUSER'] = 'mallory'
    process.env['PGHOST'] = '/no/such/directory'
    try {
      const { error } = await libpqConnect({ conninfo: { port: 1 } })
      expect(error).not.toContain('/no/such/directory')
    } finally {
      delete process.env['PGUSER']
      delete process.env['PGHOST']
    }
  })

  test('never has a token on its command line or in its environment', async () => {
    const token = randomUUID()
    const server = await fakeServer(() => {})
    const own = await startLibpq()
    const login = own.login({ conninfo: { ...server.conninfo, ...oauth }, token })
    await eventually(() => server.connections() === 1)
    const pids = processesWith('libpq-child')
    for (const pid of pids.filter(processExists)) {
      expect(show(pid)).not.toContain(token)
    }
    expect(pids.length).toBeGreaterThan(0)
    await Promise.all([expect(login).rejects.toThrow(), own.stop()])
  })
})

const issuer = 'https://issuer.example.com'
const oauth: Conninfo = { oauth_issuer: issuer, oauth_client_id: 'psql', require_auth: 'oauth' }
const discovery = JSON.stringify({
  status: 'invalid_token',
  'openid-configuration': `${issuer}/.well-known/openid-configuration`,
  scope: 'openid db',
})

describe('logging in with a token', () => {
  test('asks for discovery, then for a token with what the server said, then sends it', async () => {
    const token = 'abc.DEF-123~/+=='
    const said: string[] = []
    const server = await fakeServer(oauthScript(said, token))
    const report = await libpq().login({ conninfo: { ...server.conninfo, ...oauth }, token })
    expect(report).toMatchObject({
      ok: true,
      backendPid: 4711,
      tokenRequests: [
        {
          openidConfiguration: `${issuer}/.well-known/openid-configuration`,
          scope: 'openid db',
        },
      ],
    })
    expect(said).toEqual([
      'n,,\u0001auth=\u0001\u0001',
      '\u0001',
      `n,,\u0001auth=Bearer ${token}\u0001\u0001`,
    ])
    await report.connection?.close()
  })

  test('sends the token at once where the issuer names its document', async () => {
    const said: string[] = []
    const server = await fakeServer(oauthScript(said, 'abc'))
    const report = await libpq().login({
      conninfo: {
        ...server.conninfo,
        ...oauth,
        oauth_issuer: `${issuer}/.well-known/openid-configuration`,
      },
      token: 'abc',
    })
    expect(report.ok).toBe(true)
    expect(said).toEqual(['n,,\u0001auth=Bearer abc\u0001\u0001'])
    await report.connection?.close()
  })

  test('gives each connection its own token', async () => {
    const tokens = Array.from({ length: 8 }, () => randomUUID())
    const said: string[] = []
    const server = await fakeServer(oauthScript(said, undefined))
    const reports = await Promise.all(
      tokens.map((token) => libpq().login({ conninfo: { ...server.conninfo, ...oauth }, token })),
    )
    expect(reports.map(({ ok }) => ok)).toEqual(tokens.map(() => true))
    const sent = said.flatMap((text) => /Bearer ([^\u0001]+)/.exec(text)?.[1] ?? [])
    expect(sent.sort()).toEqual([...tokens].sort())
    await Promise.all(reports.map(async ({ connection }) => connection?.close()))
  })

  test('shows the refusal of the server', async () => {
    const server = await fakeServer(oauthScript([], 'the right one'))
    const { ok, error } = await libpq().login({
      conninfo: { ...server.conninfo, ...oauth },
      token: 'another',
    })
    expect(ok).toBe(false)
    expect(error).toContain('retrying connection with new bearer token\n')
    expect(error).toContain('FATAL:  OAuth bearer authentication failed for user "alice"\n')
  })

  test('has no flow of its own', async () => {
    const server = await fakeServer(oauthScript([], 'abc'))
    const { error, tokenRequests } = await libpq().login({
      conninfo: { ...server.conninfo, ...oauth },
    })
    expect(error).toContain('no OAuth flows are available (try installing the libpq-oauth package)')
    expect(tokenRequests).toHaveLength(1)
  })

  test('can have a hook that fails', async () => {
    const server = await fakeServer(oauthScript([], 'abc'))
    const { error } = await libpq().login({
      conninfo: { ...server.conninfo, ...oauth },
      token: null,
    })
    expect(error).toContain('user-defined OAuth flow failed')
  })

  test('does not take a server that lets everybody in', async () => {
    const server = await fakeServer((socket) => {
      socket.once('data', () => socket.write(bytes(message('R', int32(0)), ready)))
    })
    const { ok, error } = await libpq().login({
      conninfo: { ...server.conninfo, ...oauth },
      token: 'abc',
    })
    expect(ok).toBe(false)
    expect(error).toContain('authentication method requirement "oauth" failed')
  })
})

test('a connection string is quoted as libpq reads it', () => {
  expect(formatConninfo({ user: "o'neil", password: '\\', port: 5432 })).toBe(
    "user='o\\'neil' password='\\\\' port='5432'",
  )
})

const ready = bytes(message('K', int32(4711), int32(42)), message('Z', 'I'))

/** The server's side of OAUTHBEARER in a few bytes; any token is right where `right` is undefined. */
function oauthScript(said: string[], right: string | undefined): (socket: Socket) => void {
  return (socket) => {
    let first = true
    socket.on('data', (data) => {
      if (first) {
        first = false
        socket.write(message('R', int32(10), 'OAUTHBEARER\0\0'))
        return
      }
      const text = data.toString('latin1').replace(/^p[\s\S]{4}(OAUTHBEARER\0[\s\S]{4})?/, '')
      said.push(text)
      const token = /auth=Bearer ([^\u0001]*)/.exec(text)?.[1]
      if (token !== undefined && (right === undefined || token === right)) {
        socket.write(bytes(message('R', int32(0)), ready))
      } else if (text === '\u0001') {
        const fields =
          'SFATAL\0VFATAL\0C28000\0MOAuth bearer authentication failed for user "alice"\0\0'
        socket.end(message('E', fields))
      } else {
        socket.write(message('R', int32(11), discovery))
      }
    })
  }
}

interface FakeServer {
  readonly conninfo: Conninfo
  readonly connections: () => number
}

const servers: { server: Server; sockets: Set<Socket> }[] = []
afterEach(() => {
  for (const { server, sockets } of servers.splice(0)) {
    server.close()
    for (const socket of sockets) {
      socket.destroy()
    }
  }
})

async function fakeServer(script: (socket: Socket) => void): Promise<FakeServer> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    script(socket)
  })
  servers.push({ server, sockets })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    conninfo: {
      host: '127.0.0.1',
      port,
      user: 'alice',
      dbname: 'postgres',
      sslmode: 'disable',
      gssencmode: 'disable',
    },
    connections: () => sockets.size,
  }
}

/** All that another process can see of one. */
function show(pid: number): string {
  return process.platform === 'linux'
    ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') + readFileSync(`/proc/${pid}/environ`, 'utf8')
    : execFileSync('ps', ['-Eww', '-p', String(pid)], { encoding: 'utf8' })
}
