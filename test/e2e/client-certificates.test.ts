/** The method `cert`, and `clientcert` on rules of other methods, with libpq and beside a real server. */
import { describe, expect, it } from 'vitest'
import { makeTestCertificates } from '../support/certificates.ts'
import { withLibpq } from '../support/libpq.ts'
import { perFile } from '../support/per-file.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxy } from '../support/proxy.ts'
import { fixtureValidator, ISSUER } from '../support/oauth-proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import { firstMessage } from '../support/oauth-proxy.ts'
import { oauthBearer, startupMessage } from '../support/wire-bytes.ts'

const HBA = `
hostssl certified all 127.0.0.1/32 cert
hostssl mapped    all 127.0.0.1/32 cert map=people clientname=DN
hostssl chained   all 127.0.0.1/32 trust clientcert=verify-ca
hostssl named     all 127.0.0.1/32 oauth issuer=${ISSUER} scope=db clientcert=verify-full
hostssl trusted   all 127.0.0.1/32 trust
`
/** What a real server is given: it has no OAuth module. */
const SERVER_HBA = HBA.replace(/^hostssl named.*\n/m, '')
const IDENT = 'people "CN=Ann Lee,OU=people,O=Example\\, Inc." alice\n'

const libpq = withLibpq()

const world = perFile(async () => {
  const certificates = await makeTestCertificates()
  const { authority, server, files } = certificates
  const strange = await (await makeTestCertificates()).authority.issue({
    commonName: 'alice',
    usage: 'client',
  })
  const clients = {
    alice: await authority.issue({ commonName: 'alice', usage: 'client' }),
    bob: await authority.issue({ commonName: 'bob', usage: 'client' }),
    ann: await authority.issue({
      commonName: 'Ann Lee',
      organisation: [
        ['O', 'Example, Inc.'],
        ['OU', 'people'],
      ],
      usage: 'client',
    }),
    odd: await authority.issue({
      commonName: ' +é"\\<;>#\n',
      organisation: [['O', '#first']],
      usage: 'client',
    }),
    nameless: await authority.issue({ commonName: '', usage: 'client' }),
    strange,
  }
  for (const [name, { cert, key }] of Object.entries(clients)) {
    await certificates.directory.write(`${name}.crt`, cert)
    await certificates.directory.write(`${name}.key`, key)
  }
  const postgres = await startPostgres({
    hba: `${SERVER_HBA}\nhost all all 127.0.0.1/32 trust`,
    ident: IDENT,
    settings: { log_connections: 'authentication' },
    ssl: { ...server, ca: authority.cert },
  })
  await postgres.query('create role alice login')
  for (const database of ['certified', 'mapped', 'chained', 'named', 'trusted']) {
    await postgres.query(`create database ${database}`)
  }
  const proxy = await startProxy({
    hba: HBA,
    ident: IDENT,
    ssl: true,
    ssl_cert_file: files.cert,
    ssl_key_file: files.key,
    ssl_ca_file: files.ca,
    oauth_validator_libraries: [fixtureValidator('accepts-anything')],
    upstream: { host: postgres.host, port: postgres.port, sslmode: 'disable' },
  })
  return {
    certificates,
    postgres,
    proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await postgres[Symbol.asyncDispose]()
      await certificates[Symbol.asyncDispose]()
    },
  }
})

/** Logs in to the proxy, or to the server itself; libpq's error without the address. */
async function tryLogin(
  target: 'proxy' | 'postgres',
  dbname: string,
  certificate?: string,
  token?: string,
): Promise<string> {
  const { certificates, [target]: to } = world()
  const { connection, error } = await libpq().login({
    conninfo: {
      host: 'localhost',
      hostaddr: to.host,
      port: to.port,
      user: 'alice',
      dbname,
      sslmode: 'verify-full',
      sslrootcert: certificates.files.ca,
      oauth_issuer: ISSUER,
      oauth_client_id: 'test',
      sslcert: certificate === undefined ? '' : `${certificates.directory.path}/${certificate}.crt`,
      sslkey: certificate === undefined ? '' : `${certificates.directory.path}/${certificate}.key`,
    },
    ...(token === undefined ? {} : { token }),
  })
  await connection?.close()
  return error.replaceAll(/connection to server at .*? failed: /g, '').trim()
}

describe('a client certificate', () => {
  it.each([
    ['certified', 'alice', ''],
    ['certified', 'bob', 'FATAL:  certificate authentication failed for user "alice"'],
    ['certified', 'ann', 'FATAL:  certificate authentication failed for user "alice"'],
    ['certified', 'nameless', 'FATAL:  certificate authentication failed for user "alice"'],
    ['certified', undefined, 'FATAL:  connection requires a valid client certificate'],
    ['mapped', 'ann', ''],
    ['mapped', 'alice', 'FATAL:  certificate authentication failed for user "alice"'],
    ['chained', 'bob', ''],
    ['chained', undefined, 'FATAL:  connection requires a valid client certificate'],
    ['trusted', undefined, ''],
    ['trusted', 'bob', ''],
  ])('for %s: %s is answered as PostgreSQL answers it', async (database, certificate, expected) => {
    expect(await tryLogin('postgres', database, certificate)).toBe(expected)
    expect(await tryLogin('proxy', database, certificate)).toBe(expected)
  })

  it('of another authority ends the handshake, whatever the rule asks', async () => {
    const [theirs, ours] = [
      await tryLogin('postgres', 'trusted', 'strange'),
      await tryLogin('proxy', 'trusted', 'strange'),
    ]
    expect(theirs).not.toBe('')
    expect(ours).not.toBe('')
    await world().proxy.logged(({ detail = '' }) => detail.startsWith('certificate verify failed'))
  })

  it.each(['alice', 'ann', 'odd'])(
    'is named in the log as PostgreSQL names it: %s',
    async (name) => {
      await tryLogin('postgres', 'certified', name)
      await tryLogin('proxy', 'certified', name)
      const identities = [
        ...world()
          .postgres.log()
          .matchAll(/identity="(CN=.*?)" method=cert/gs),
      ]
      const theirs = identities.at(-1)?.[1]
      const line = world().proxy.lines.findLast(({ msg }) => / method=cert /.test(msg))
      expect(theirs).toBeDefined()
      expect(line?.authnId).toBe(theirs)
    },
  )

  it('must fit the role on a rule of oauth, too, once the token has been accepted', async () => {
    expect(await tryLogin('proxy', 'named', 'alice', 'alice')).toBe('')
    expect(await tryLogin('proxy', 'named', undefined, 'alice')).toContain(
      'connection requires a valid client certificate',
    )
    expect(await tryLogin('proxy', 'named', 'bob', 'alice')).toContain(
      'FATAL:  OAuth bearer authentication failed for user "alice"',
    )
    const line = await world().proxy.logged(({ reason }) => reason === 'certificate_mismatch')
    expect(line).toBeDefined()
    const oauth = world().proxy.lines.findLast(({ code }) => code === 'ERR_OAUTH_AUTHENTICATION')
    expect(oauth?.detail).toContain(
      'certificate validation (clientcert=verify-full) failed for user "alice": CN mismatch',
    )
  })

  it('that does not fit an oauth rule gets the refusal without the JSON', async () => {
    const { certificates, proxy } = world()
    const bob = await certificates.authority.issue({ commonName: 'bob', usage: 'client' })
    const client = await rawClient({ port: proxy.port })
    await client.startTls(bob)
    client.send(startupMessage({ user: 'alice', database: 'named' }))
    expect((await client.readMessage()).type).toBe('R')
    client.send(firstMessage(oauthBearer('Bearer alice')))
    expect((await client.readError()).C).toBe('28000')
  })
})
