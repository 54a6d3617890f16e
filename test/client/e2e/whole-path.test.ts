/**
 * The client side against everything real: our proxy, which stands in for a PostgreSQL that would need
 * a validator library in C, and behind it a PostgreSQL 18.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { Client, Pool, Query } from 'pg'
import postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import {
  TokenProvider,
  TokenRejectedError,
  type TokenSource,
  connectOAuth,
  credential,
  pgOAuth,
  pgOAuthClient,
  postgresOAuth,
  runExec,
  sources,
} from '../../../src/client/index.ts'
import { startAuthorizationServer } from '../../../src/demo/authorization-server.ts'
import { OAUTH_RULE } from '../../support/oauth-proxy.ts'
import { startProxy } from '../../support/proxy.ts'
import { withWholePath } from '../../support/whole-path.ts'

const whole = withWholePath()

const tls = () => ({ ca: whole().certificates.authority.cert })
const token = async () => credential(await whole().issuer.mintToken())
const where = () => ({
  host: 'localhost',
  port: whole().proxy.port,
  user: 'alice',
  database: 'postgres',
})

/** A provider that counts its calls. */
function counted(): { provider: TokenProvider; readonly calls: number } {
  let calls = 0
  const provider = new TokenProvider(() => {
    calls += 1
    return token()
  })
  return {
    provider,
    get calls() {
      return calls
    },
  }
}

/** The two ways in, each with options for a client and for a pool. */
const ways = {
  pg: (source: TokenSource | TokenProvider, issuer?: string) => ({
    Client,
    config: pgOAuth({ token: source, issuer, tls: tls() }),
  }),
  'M10: pg by class': (source: TokenSource | TokenProvider, issuer?: string) => ({
    Client: pgOAuthClient(Client, { token: source, issuer }),
    config: { ssl: tls() },
  }),
}

describe.each(Object.entries(ways))('%s', (_name, way) => {
  const client = () => {
    const { Client: Chosen, config } = way(token, whole().issuer.issuer)
    return new Chosen({ ...where(), ...config })
  }

  it('M1: logs in, queries with parameters, fails a query and ends', async () => {
    const one = client()
    await one.connect()
    const { rows } = await one.query('select current_user, $1::int + 1 as two', [1])
    expect(rows).toEqual([{ current_user: 'alice', two: 2 }])
    await expect(one.query('select 1/0')).rejects.toMatchObject({ code: '22012' })
    expect((await one.query('select 3 as three')).rows).toEqual([{ three: 3 }])
    await one.end()
  })

  it('M1: cancels a query', async () => {
    const one = client()
    await one.connect()
    const { rows } = await one.query('select pg_backend_pid() as pid')
    const query = new Query('select pg_sleep(60)')
    const failed = new Promise((resolve) => query.once('error', resolve))
    one.query(query)
    const watcher = client()
    await watcher.connect()
    const state = "select state = 'active' as active from pg_stat_activity where pid = $1"
    while ((await watcher.query(state, [rows[0].pid])).rows[0].active !== true) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await watcher.end()
    const canceller = client()
    ;(canceller as unknown as { cancel(c: unknown, q: unknown): void }).cancel(one, query)
    expect(await failed).toMatchObject({ code: '57014' })
    await one.end()
  })

  it('M4: a refused token is 28000', async () => {
    const wrong = async () => credential(await whole().issuer.mintToken({ sub: 'bob' }))
    const { Client: Chosen, config } = way(wrong)
    const one = new Chosen({ ...where(), ...config })
    await expect(one.connect()).rejects.toMatchObject({
      code: '28000',
      message: 'OAuth bearer authentication failed for user "alice"',
    })
    await one.end()
  })

  it('D8: a database that is not there is 3D000, and the token is used again', async () => {
    const count = counted()
    const { Client: Chosen, config } = way(count.provider)
    const wrong = new Chosen({ ...where(), database: 'nowhere', ...config })
    await expect(wrong.connect()).rejects.toMatchObject({ code: '3D000' })
    await wrong.end()
    const right = new Chosen({ ...where(), ...config })
    await right.connect()
    expect((await right.query('select current_user')).rows).toEqual([{ current_user: 'alice' }])
    await right.end()
    expect(count.calls).toBe(1)
  })

  it('D2: 10 workers with 100 queries each over a pool make one call', async () => {
    const count = counted()
    const { Client: Chosen, config } = way(count.provider)
    const pool = new Pool({ ...where(), max: 10, Client: Chosen, ...config })
    const worker = async (_value: unknown, number: number): Promise<void> => {
      for (let n = 0; n < 100; n += 1) {
        const { rows } = await pool.query('select $1::int as n', [number * 100 + n])
        expect(rows).toEqual([{ n: number * 100 + n }])
      }
    }
    await Promise.all(Array.from({ length: 10 }, worker))
    expect(pool.totalCount).toBe(10)
    await pool.end()
    expect(count.calls).toBe(1)
  })

  it('M7: a large result with a slow reader arrives whole', async () => {
    const one = client()
    await one.connect()
    const { rows } = await one.query(
      'select n, repeat(md5(n::text), 32) as text from generate_series(1, 20000) n',
    )
    expect(rows).toHaveLength(20_000)
    expect(rows.every(({ text }) => text.length === 1024)).toBe(true)
    await one.end()
  })

  it('M8: notifications pass through', async () => {
    const listener = client()
    await listener.connect()
    const heard = new Promise<unknown>((resolve) => listener.once('notification', resolve))
    await listener.query('listen news')
    const speaker = client()
    await speaker.connect()
    await speaker.query("select pg_notify('news', 'hello')")
    expect(await heard).toMatchObject({ channel: 'news', payload: 'hello' })
    await Promise.all([listener.end(), speaker.end()])
  })
})

describe('postgres', () => {
  const open = (max = 1) => postgres({ ...where(), max, ...postgresOAuth({ token, tls: tls() }) })

  it('M3, M8: logs in, pipelines, copies in and out, listens and ends', async () => {
    const sql = open(2)
    const numbers = await Promise.all(
      Array.from({ length: 50 }, (_value, index) => sql`select ${index}::int as number`),
    )
    expect(numbers.map(([row]) => row?.['number'] as number)).toEqual(
      Array.from({ length: 50 }, (_value, index) => index),
    )
    const reserved = await sql.reserve()
    await reserved`create temp table copied (a int, b text)`
    const writable = await reserved`copy copied from stdin`.writable()
    await new Promise<void>((resolve, reject) => {
      writable.on('finish', resolve).on('error', reject)
      writable.write('1\tone\n')
      writable.end('2\ttwo\n')
    })
    const readable = await reserved`copy copied to stdout`.readable()
    let text = ''
    for await (const chunk of readable as AsyncIterable<Buffer>) {
      text += chunk.toString()
    }
    expect(text).toBe('1\tone\n2\ttwo\n')
    reserved.release()
    await sql.end()
  })

  it('M3: cancels a query', async () => {
    const sql = open(1)
    await sql`select 1`
    const query = sql`select pg_sleep(60)`.execute()
    const failed = query.catch((error: unknown) => error)
    await new Promise((resolve) => setTimeout(resolve, 50))
    query.cancel()
    expect(await failed).toMatchObject({ code: '57014' })
    await sql.end()
  })

  it('M4: a refused token is 28000', async () => {
    const wrong = async () => credential(await whole().issuer.mintToken({ sub: 'bob' }))
    const sql = postgres({ ...where(), max: 1, ...postgresOAuth({ token: wrong, tls: tls() }) })
    await expect(sql`select 1`).rejects.toMatchObject({ code: '28000' })
    await sql.end()
  })
})

describe('connectOAuth', () => {
  it('G4: says what the server announced with its refusal', async () => {
    const error: unknown = await connectOAuth({
      ...where(),
      tls: tls(),
      token: () => credential('not-a-jwt'),
    }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TokenRejectedError)
    expect(error).toMatchObject({
      status: 'invalid_token',
      scope: 'db',
      discoveryUrl: `${whole().issuer.issuer}/.well-known/openid-configuration`,
      sqlState: '28000',
    })
  })

  it('H6: logs in over the Unix socket', async () => {
    const { socket, startup } = await connectOAuth({
      ...where(),
      host: whole().proxy.directory,
      token,
    })
    expect(startup.authentication).toBe('oauth')
    socket.destroy()
  })

  it('G15: a token of 65,497 bytes logs in, and one of 65,498 is refused before it is sent', async () => {
    const { postgres: database } = whole()
    await using proxy = await startProxy({
      hba: OAUTH_RULE.replace('host ', 'local ').replace('127.0.0.1/32 ', ''),
      oauth_validator_libraries: ['./long.js'],
      files: {
        'package.json': '{"type":"module"}',
        'long.js': `export const apiVersion = 1
          export const validate = (_state, { token, role }) =>
            ({ authorized: token.length === 65497 && /^x+$/.test(token), authnId: role })`,
        'users.toml': '[alice]\npassword = "alice-password"\n',
      },
      upstream: {
        host: database.host,
        port: database.port,
        sslmode: 'disable',
        users_file: 'users.toml',
      },
    })
    const attempt = (accessToken: string) =>
      connectOAuth({
        host: proxy.directory,
        port: proxy.port,
        user: 'alice',
        database: 'postgres',
        token: () => credential(accessToken),
      })
    const { socket, startup, token: used } = await attempt('x'.repeat(65_497))
    expect(startup.authentication).toBe('oauth')
    expect(used?.accessToken).toHaveLength(65_497)
    const [first] = (await once(socket.resume(), 'data')) as [Buffer]
    expect(first.toString('latin1')).toContain('server_version')
    socket.destroy()
    const logins = (): number => proxy.logText().split('connection authorized').length - 1
    expect(logins()).toBe(1)
    await expect(attempt('x'.repeat(65_498))).rejects.toThrow('longer than 65497 bytes')
    // A shorter one reaches the validator, which wants all of it.
    await expect(attempt('x'.repeat(65_496))).rejects.toBeInstanceOf(TokenRejectedError)
    expect(logins()).toBe(1)
  })
})

describe('a person', () => {
  it('E1, J2: logs in by the device flow against a real authorization server, from discovery on', async () => {
    const { certificates, postgres: database } = whole()
    const { authority, server: pair, files } = certificates
    await using issuer = await startAuthorizationServer({ tls: { ...pair, ca: authority.cert } })
    await using proxy = await startProxy({
      hba: `hostssl all all 127.0.0.1/32 oauth issuer=${issuer.issuer} scope=db`,
      oauth_validator_libraries: ['jwt'],
      validators: { jwt: { audiences: [issuer.audience], http: { ca: files.ca, egress: 'any' } } },
      ssl: true,
      ssl_cert_file: files.cert,
      ssl_key_file: files.key,
      files: { 'users.toml': '[alice]\npassword = "alice-password"\n' },
      upstream: {
        host: database.host,
        port: database.port,
        sslmode: 'disable',
        users_file: 'users.toml',
      },
    })
    const prompts: string[] = []
    const options = pgOAuth({
      tls: tls(),
      issuer: issuer.issuer,
      clientId: issuer.deviceClient,
      token: sources.deviceFlow({
        ca: authority.cert,
        prompt: async (prompt) => {
          prompts.push(prompt.userCode)
          await issuer.approveDevice(prompt.verificationUriComplete!, 'alice')
        },
      }),
    })
    const pool = new Pool({ ...where(), port: proxy.port, max: 3, ...options })
    // A pool says it has ended before its connections have.
    const ended: Promise<unknown>[] = []
    pool.on('connect', (client) => ended.push(once(client, 'end')))
    const users = await Promise.all(
      Array.from({ length: 6 }, async () => (await pool.query('select current_user')).rows[0]),
    )
    expect(new Set(users.map((row) => row.current_user as string))).toEqual(new Set(['alice']))
    expect(prompts).toHaveLength(1)
    await pool.end()
    await Promise.all(ended)
  })
})

describe('pgbearer exec', () => {
  async function version(program: string): Promise<string | undefined> {
    try {
      return (await promisify(execFile)(program, ['--version'])).stdout.trim()
    } catch {
      return undefined
    }
  }

  it('N6: runs any psql and pg_dump that are on the PATH', async () => {
    const { directory, files } = whole().certificates
    const tokenFile = path.join(directory.path, 'token')
    await fs.writeFile(tokenFile, await whole().issuer.mintToken(), { mode: 0o600 })
    const out = path.join(directory.path, 'out')
    const programs: readonly (readonly [string, readonly string[], string])[] = [
      [
        'psql',
        ['-XAt', '-o', out, '-c', 'select current_user', '-c', '\\c -', '-c', 'select 1'],
        'alice',
      ],
      ['pg_dump', ['--schema-only', '-f', out], 'PostgreSQL database dump'],
    ]
    for (const [program, args, expected] of programs) {
      const found = await version(program)
      if (found === undefined) {
        console.log(`no ${program} on the PATH: it was not tried`)
        continue
      }
      const errors: string[] = []
      const code = await runExec(
        {
          ...where(),
          source: 'file',
          path: tokenFile,
          sslrootcert: files.ca,
          command: [program, ...args],
        },
        { stdout: { write() {} }, stderr: { write: (text) => errors.push(text) } },
      )
      expect(errors, found).toEqual([])
      // An older pg_dump refuses a newer server; it has logged in all the same.
      const mismatch = program === 'pg_dump' && code !== 0
      expect(mismatch || code === 0, found).toBe(true)
      if (!mismatch) {
        expect(await fs.readFile(out, 'utf8'), found).toContain(expected)
      }
      expect(whole().proxy.logText()).toContain('connection authorized: user=alice')
    }
  })
})
