/** People with tokens and programs with passwords on one port: the method `upstream`. */
import { Client } from 'pg'
import { describe, expect, it } from 'vitest'
import { makeTestCertificates } from '../support/certificates.ts'
import { withLibpq } from '../support/libpq.ts'
import { fixtureValidator, ISSUER } from '../support/oauth-proxy.ts'
import { perFile } from '../support/per-file.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import { message, query, startupMessage } from '../support/wire-bytes.ts'

const libpq = withLibpq()

const HBA = `
hostssl all people 127.0.0.1/32 oauth issuer=${ISSUER} scope=db
host    all all    127.0.0.1/32 upstream
`

const world = perFile(async () => {
  const certificates = await makeTestCertificates()
  const postgres = await startPostgres({
    hba: `host all trusted,people 127.0.0.1/32 trust
host all clear 127.0.0.1/32 password
host all hashed 127.0.0.1/32 md5
host all all 127.0.0.1/32 scram-sha-256`,
    ssl: certificates.server,
  })
  await postgres.query(`
    create role people login;
    create role trusted login;
    create role program login password 'secret';
    create role clear login password 'in the clear';
    set password_encryption = md5;
    create role hashed login password 'hashed secret';
  `)
  const start = (upstream: object, more: object = {}) =>
    startProxy({
      hba: HBA,
      ssl: true,
      ssl_cert_file: certificates.files.cert,
      ssl_key_file: certificates.files.key,
      oauth_validator_libraries: [fixtureValidator('accepts-anything')],
      upstream: { host: postgres.host, port: postgres.port, sslmode: 'prefer', ...upstream },
      ...more,
    })
  const proxy = await start({})
  const sameCertificate = await start({ sslmode: 'require' })
  const other = await certificates.authority.issue()
  await certificates.directory.write('other.crt', other.cert)
  await certificates.directory.write('other.key', other.key)
  const otherCertificate = await start(
    { sslmode: 'require' },
    {
      ssl_cert_file: `${certificates.directory.path}/other.crt`,
      ssl_key_file: `${certificates.directory.path}/other.key`,
    },
  )
  return {
    certificates,
    postgres,
    proxy,
    sameCertificate,
    otherCertificate,
    async [Symbol.asyncDispose]() {
      for (const each of [proxy, sameCertificate, otherCertificate, postgres, certificates]) {
        await each[Symbol.asyncDispose]()
      }
    },
  }
})

async function tryLogin(
  to: 'proxy' | 'sameCertificate' | 'otherCertificate',
  more: Record<string, string>,
  token?: string,
): Promise<string> {
  const { connection, error } = await libpq().login({
    conninfo: {
      host: '127.0.0.1',
      port: world()[to].port,
      dbname: 'postgres',
      sslmode: 'require',
      oauth_issuer: ISSUER,
      oauth_client_id: 'test',
      ...more,
    },
    ...(token === undefined ? {} : { token }),
  })
  const answer = await connection?.execute('select current_user')
  await connection?.close()
  const failure = error.replaceAll(/connection to server at .*? failed: /g, '').trim()
  return answer?.rows[0]?.[0] ?? failure
}

describe('a login that the server behind decides', () => {
  it('stands beside logins by token on one port', async () => {
    expect(await tryLogin('proxy', { user: 'people' }, 'people')).toBe('people')
    expect(await tryLogin('proxy', { user: 'program', password: 'secret' })).toBe('program')
  })

  it.each([
    ['clear', 'in the clear'],
    ['hashed', 'hashed secret'],
    ['program', 'secret'],
  ])('goes by whatever the server asks %s for', async (user, password) => {
    expect(await tryLogin('proxy', { user, password })).toBe(user)
    expect(await tryLogin('proxy', { user, password, sslmode: 'disable' })).toBe(user)
  })

  it.each(['clear', 'hashed', 'program'])('refuses %s in the server’s words', async (user) => {
    expect(await tryLogin('proxy', { user, password: 'wrong' })).toBe(
      `FATAL:  password authentication failed for user "${user}"`,
    )
  })

  it('lets nobody in whom the server lets in unasked: it would be anybody', async () => {
    expect(await tryLogin('proxy', { user: 'trusted' })).toBe(
      'FATAL:  could not log in to the database server',
    )
    await world().proxy.logged(
      ({ code, reason }) => code === 'ERR_UPSTREAM' && reason === 'server_not_authenticated',
    )
  })

  it('binds to the channel where proxy and server show the same certificate', async () => {
    expect(
      await tryLogin('sameCertificate', {
        user: 'program',
        password: 'secret',
        channel_binding: 'require',
      }),
    ).toBe('program')
  })

  it('is refused by libpq’s defaults where both have TLS and certificates of their own', async () => {
    expect(await tryLogin('otherCertificate', { user: 'program', password: 'secret' })).toContain(
      'SCRAM channel binding check failed',
    )
    expect(
      await tryLogin('otherCertificate', {
        user: 'program',
        password: 'secret',
        channel_binding: 'disable',
      }),
    ).toBe('program')
  })

  it('is logged, is cancelled and ends like any other', async () => {
    const client = new Client({
      host: '127.0.0.1',
      port: world().proxy.port,
      user: 'program',
      password: 'secret',
      database: 'postgres',
    })
    await client.connect()
    await world().proxy.logged(({ msg }) =>
      msg.startsWith('connection authenticated: user="program" method=upstream'),
    )
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await client.end()
    const raw = await rawClient({ port: world().proxy.port })
    raw.send(startupMessage({ user: 'clear', database: 'postgres' }))
    await raw.readMessage()
    raw.send(message('p', 'in the clear\0'), query('select 1'))
    expect((await raw.readUntil('C')).at(-1)?.body.toString()).toBe('SELECT 1\0')
  })

  it.each([
    [
      'another message',
      message('Q', 'select 1\0'),
      'expected password response, got message type 81',
    ],
    ['a length over the limit', Buffer.from([0x70, 0, 1, 0, 0]), 'invalid message length'],
  ])('is ended by %s instead of an answer', async (_what, bytes, text) => {
    const client = await rawClient({ port: world().proxy.port })
    client.send(startupMessage({ user: 'program', database: 'postgres' }))
    expect((await client.readMessage()).type).toBe('R')
    client.send(bytes)
    expect(await client.readError()).toMatchObject({ C: '08P01', M: text })
  })

  it('leaves nothing behind where the client leaves in the middle', async () => {
    const client = await rawClient({ port: world().proxy.port })
    client.send(startupMessage({ user: 'program', database: 'postgres' }))
    await client.readMessage()
    client.destroy()
    await expect.poll(() => world().proxy.server.clientCount, { timeout: 10_000 }).toBe(0)
  })
})
