/**
 * Drivers without OAUTHBEARER, by `token_in_password=1`: pg, postgres, and any psql on the PATH.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Client } from 'pg'
import postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { rawClient } from '../support/raw-client.ts'
import { withWholePath } from '../support/whole-path.ts'
import { int32, message, passwordMessage, startupMessage } from '../support/wire-bytes.ts'

const path = withWholePath({
  hba: 'hostssl all all 127.0.0.1/32 OAUTH token_in_password=1\nlocal all all OAUTH token_in_password=1',
})

const token = (claims: Record<string, string> = {}) =>
  path().issuer.mintToken({ sub: 'alice', ...claims })

const ssl = () => ({ ca: path().certificates.authority.cert, servername: 'localhost' })

describe('pg', () => {
  it('logs in with a token for a password, and queries', async () => {
    const client = new Client({
      host: path().proxy.host,
      port: path().proxy.port,
      user: 'alice',
      password: await token(),
      database: 'postgres',
      ssl: ssl(),
    })
    await client.connect()
    const { rows } = await client.query('select current_user, $1::int + 1 as two', [1])
    expect(rows).toEqual([{ current_user: 'alice', two: 2 }])
    await client.end()
  })

  it('is refused with the sentence for passwords', async () => {
    const client = new Client({
      host: path().proxy.host,
      port: path().proxy.port,
      user: 'alice',
      password: await token({ sub: 'bob' }),
      database: 'postgres',
      ssl: ssl(),
    })
    await expect(client.connect()).rejects.toMatchObject({
      code: '28P01',
      message: 'password authentication failed for user "alice"',
    })
    await client.end()
  })
})

describe('postgres', () => {
  it('logs in with a token for a password, and queries in a pipeline', async () => {
    const sql = postgres({
      host: path().proxy.host,
      port: path().proxy.port,
      user: 'alice',
      password: await token(),
      database: 'postgres',
      ssl: ssl(),
      max: 2,
    })
    const numbers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => sql`select ${index}::int as number`),
    )
    expect(numbers.map(([row]) => row?.number as number)).toEqual(
      Array.from({ length: 50 }, (_, index) => index),
    )
    await sql.end()
  })
})

describe('psql', () => {
  it('logs in with a token for a password, over TLS and on the Unix socket', async () => {
    const version = await psqlVersion()
    if (version === undefined) {
      console.log('no psql on the PATH: this case was not tried')
      return
    }
    for (const where of [
      `host=localhost hostaddr=${path().proxy.host} sslmode=verify-full sslrootcert=${path().certificates.files.ca}`,
      `host=${path().proxy.directory}`,
    ]) {
      const { stdout } = await promisify(execFile)(
        'psql',
        [
          '-XAtc',
          'select current_user',
          `${where} port=${path().proxy.port} user=alice dbname=postgres`,
        ],
        { env: { ...process.env, PGPASSWORD: await token() } },
      )
      expect(stdout.trim(), version).toBe('alice')
    }
  })
})

async function psqlVersion(): Promise<string | undefined> {
  try {
    return (await promisify(execFile)('psql', ['--version'])).stdout
  } catch {
    return undefined
  }
}

describe('the wire of a token in a password', () => {
  const local = () => ({ path: `${path().proxy.directory}/.s.PGSQL.${path().proxy.port}` })
  const asked = async () => {
    const client = await rawClient(local())
    client.send(startupMessage({ user: 'alice', database: 'postgres' }))
    expect((await client.readMessage()).raw).toEqual(message('R', int32(3)))
    return client
  }
  const REFUSED = {
    S: 'FATAL',
    V: 'FATAL',
    C: '28P01',
    M: 'password authentication failed for user "alice"',
  }

  it.each([
    ['an empty password', ''],
    ['a password that is no token', 'correct horse'],
    ['a token that nobody signed', 'a.b.c'],
    ['a token with its scheme', 'Bearer a.b.c'],
  ])('refuses %s', async (_what, password) => {
    const client = await asked()
    client.send(passwordMessage(password))
    expect(await client.readError()).toEqual(REFUSED)
    await client.expectClose()
  })

  it.each([
    ['another type', message('Q', 'select 1\0'), 'expected password response, got message type 81'],
    ['no NUL at the end', message('p', 'token'), 'invalid password packet size'],
    ['a NUL in the middle', message('p', 'to\0ken\0'), 'invalid password packet size'],
    ['nothing in it', message('p'), 'invalid password packet size'],
  ])('refuses a message with %s', async (_what, bytes, text) => {
    const client = await asked()
    client.send(bytes)
    expect(await client.readError()).toMatchObject({ C: '08P01', M: text })
    await client.expectClose()
  })

  it('is never asked for without encryption', async () => {
    const client = await rawClient({ port: path().proxy.port })
    client.send(startupMessage({ user: 'alice', database: 'postgres' }))
    expect((await client.readError()).M).toContain('no pg_hba.conf entry')
  })
})
