/** A reload changes everything or nothing, and nobody who is in, or on the way in, notices. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { firstMessage, ISSUER } from '../support/oauth-proxy.ts'
import { withCertificates } from '../support/certificates.ts'
import { withPostgres } from '../support/postgres.ts'
import { type RawClient, rawClient } from '../support/raw-client.ts'
import {
  kvsep,
  oauthBearer,
  query,
  saslResponse,
  sslRequest,
  startupMessage,
} from '../support/wire-bytes.ts'
import { type FileProxy, settingsText, startFileProxy } from './support.ts'

const postgres = withPostgres({ hba: 'host all all 127.0.0.1/32 scram-sha-256' })
const certificates = withCertificates()

/** Two configurations that differ in every file. */
function version(which: 'old' | 'new'): Record<string, string> {
  const isOld = which === 'old'
  const { server, strange } = certificates()
  const { cert, key } = isOld ? server : strange
  const settings = `
ssl = true
log_connections = ${isOld ? '["receipt"]' : '[]'}`
  const upstream = `
host = "127.0.0.1"
port = ${postgres().port}
sslmode = "disable"
users_file = "users.toml"`
  return {
    'pgbearer.toml': settingsText({ settings, upstream }),
    'pg_hba.conf': [
      'include lists/people.conf',
      'host all dora 127.0.0.1/32 trust',
      `host all carol 127.0.0.1/32 oauth issuer=${ISSUER} scope=db map=m`,
    ].join('\n'),
    'lists/people.conf': `host all ${isOld ? 'alice' : 'bob'} 127.0.0.1/32 trust\n`,
    'pg_ident.conf': `m carol ${isOld ? 'carol' : 'caroline'}\n`,
    'users.toml': `[dora]\npassword = "${isOld ? 'dora-password' : 'another'}"\n[carol]\npassword = "carol-password"\n`,
    'server.crt': cert,
    'server.key': key,
  }
}

async function start(): Promise<FileProxy> {
  await postgres().query(`drop role if exists dora, carol;
    create role dora login password 'dora-password'; create role carol login password 'carol-password'`)
  const { 'pgbearer.toml': text = '', ...files } = version('old')
  const settings = text.slice(text.indexOf('ssl = true'), text.indexOf('[upstream]'))
  const upstream = text.slice(text.indexOf('[upstream]') + '[upstream]'.length)
  return await startFileProxy({ settings, upstream, files })
}

function writeAll(proxy: FileProxy, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    proxy.write(name, text)
  }
}

async function open({ port }: FileProxy, user: string): Promise<RawClient> {
  const client = await rawClient({ port })
  client.send(startupMessage({ user, database: 'postgres' }))
  return client
}

/** Whether a rule lets the role in, whatever comes behind. */
async function isTrusted(proxy: FileProxy, user: string): Promise<boolean> {
  const client = await open(proxy, user)
  const { type } = await client.readMessage()
  client.destroy()
  return type === 'R'
}

async function hasSession(client: RawClient): Promise<boolean> {
  for (;;) {
    const { type } = await client.readMessage()
    if (type === 'Z' || type === 'E') {
      return type === 'Z'
    }
  }
}

/** Presents a token to a proxy that has offered OAUTHBEARER. */
async function present(client: RawClient, token: string): Promise<boolean> {
  client.send(firstMessage(oauthBearer(`Bearer ${token}`)))
  const { type, body } = await client.readMessage()
  if (type === 'R' && body.readInt32BE(0) === 11) {
    client.send(saslResponse(kvsep))
  }
  return await hasSession(client)
}

async function servedCertificate({ port }: FileProxy): Promise<string | undefined> {
  const raw = connectTcp(port, '127.0.0.1')
  raw.write(sslRequest)
  await once(raw, 'data')
  const socket: TLSSocket = connectTls({ socket: raw, rejectUnauthorized: false })
  onTestFinished(() => void socket.destroy())
  await once(socket, 'secureConnect')
  return socket.getPeerX509Certificate()?.fingerprint256
}

/** What each of the files says, seen from outside. */
async function observe(proxy: FileProxy): Promise<Record<string, unknown>> {
  const carol = await open(proxy, 'carol')
  await carol.readMessage()
  proxy.fresh()
  return {
    rules: { alice: await isTrusted(proxy, 'alice'), bob: await isTrusted(proxy, 'bob') },
    map: await present(carol, 'carol'),
    users: await hasSession(await open(proxy, 'dora')),
    certificate: await servedCertificate(proxy),
    settings: proxy.fresh().some(({ msg }) => msg.startsWith('connection received')),
  }
}

describe('a reload', () => {
  test('changes rules, maps, settings, certificates and users', async () => {
    const proxy = await start()
    const before = await observe(proxy)
    expect(before).toMatchObject({
      rules: { alice: true, bob: false },
      map: true,
      users: true,
      settings: true,
    })
    writeAll(proxy, version('new'))
    // Nothing is read before somebody asks for it.
    expect(await observe(proxy)).toEqual(before)
    await proxy.hangup()
    expect(proxy.fresh().at(-1)?.msg).toBe('configuration was reloaded')
    const after = await observe(proxy)
    expect(after).toMatchObject({
      rules: { alice: false, bob: true },
      map: false,
      users: false,
      settings: false,
    })
    expect(after['certificate']).not.toBe(before['certificate'])
  })

  const WRONG: readonly (readonly [file: string, text: string, error: string])[] = [
    ['pgbearer.toml', 'port = "one"', 'invalid value for parameter "port"'],
    ['pgbearer.toml', 'port = ', 'Invalid TOML'],
    ['pg_hba.conf', 'host all bob 127.0.0.1/99 trust', 'invalid CIDR mask'],
    ['pg_hba.conf', '', 'contains no entries'],
    ['lists/people.conf', 'host all', 'end-of-line before'],
    ['pg_ident.conf', 'm carol', 'missing entry at end of line'],
    ['users.toml', '[dora]\npasswort = "x"\n', 'unknown key'],
    ['users.toml', '[dora\n', 'Invalid TOML'],
    ['server.crt', 'no certificate', 'it does not begin with a certificate in PEM'],
    ['server.key', '-----BEGIN PRIVATE KEY-----\n', 'it holds no private key in PEM'],
  ]

  test.each(WRONG)('with a mistake in %s (%j) changes nothing', async (file, text, error) => {
    const proxy = await start()
    const before = await observe(proxy)
    writeAll(proxy, { ...version('new'), [file]: text })
    await proxy.hangup()
    const said = proxy.fresh()
    expect(said.at(-1)).toMatchObject({ level: 'error', msg: 'configuration was not reloaded' })
    expect(said.map(({ msg }) => msg).join('\n')).toContain(error)
    expect(await observe(proxy)).toEqual(before)
    // And the next one, with the mistake mended, changes everything.
    writeAll(proxy, version('new'))
    await proxy.hangup()
    expect(await observe(proxy)).toMatchObject({ rules: { alice: false, bob: true }, users: false })
  })

  test('with a validator that is not there changes nothing', async () => {
    const proxy = await start()
    const before = await observe(proxy)
    const files = version('new')
    writeAll(proxy, {
      ...files,
      'pgbearer.toml': (files['pgbearer.toml'] ?? '').replace('accepts-anything.js', 'nothing.js'),
    })
    await proxy.hangup()
    expect(
      proxy
        .fresh()
        .map(({ msg }) => msg)
        .join('\n'),
    ).toContain('no such file')
    expect(await observe(proxy)).toEqual(before)
  })

  test('names the mistakes of all files at once', async () => {
    const proxy = await start()
    writeAll(proxy, {
      'pg_hba.conf': 'host all\nlocal all nobody no-such\n',
      'pg_ident.conf': 'm carol\n',
      'users.toml': '[dora]\n',
      'server.key': 'none',
    })
    await proxy.hangup()
    const errors = proxy
      .fresh()
      .filter(({ level, code }) => level === 'error' && code !== undefined)
    expect(errors.map(({ file }) => String(file).replace(/^.*\//, '')).sort()).toEqual([
      'pg_hba.conf',
      'pg_hba.conf',
      'pg_ident.conf',
      'server.key',
      'users.toml',
    ])
  })
})

describe('a validator that changes', () => {
  const module = (role: string): string => `export const apiVersion = 1
export const validate = (_state, { role }) => ({ authorized: role === '${role}', authnId: role })
`
  const startWith = async (validator: string): Promise<FileProxy> => {
    const proxy = await start()
    const settings = version('old')['pgbearer.toml'] ?? ''
    const libraries = /^oauth_validator_libraries.*\n.*\n/m
    writeAll(proxy, {
      'pgbearer.toml': settings.replace(libraries, 'oauth_validator_libraries = ["./acme.mjs"]\n'),
      'pg_hba.conf': `host all all 127.0.0.1/32 oauth issuer=${ISSUER} scope=db`,
      'acme.mjs': validator,
    })
    proxy.write('pgbearer.toml', `validator_hosts.acme.isolation = "none"\n${read(proxy)}`)
    await proxy.hangup()
    expect(proxy.lines.at(-1)?.msg).toBe('configuration was reloaded')
    return proxy
  }
  const read = (proxy: FileProxy): string => readFileSync(proxy.path('pgbearer.toml'), 'utf8')
  const getsIn = async (proxy: FileProxy): Promise<boolean> => {
    const carol = await open(proxy, 'carol')
    await carol.readMessage()
    return await present(carol, 'token')
  }

  test('decides by its new text after the reload', async () => {
    const proxy = await startWith(module('carol'))
    expect(await getsIn(proxy)).toBe(true)
    proxy.write('acme.mjs', module('nobody'))
    await proxy.hangup()
    expect(await getsIn(proxy)).toBe(false)
  })

  test.each([
    ['a mistake in itself', { 'acme.mjs': 'export const apiVersion = 99\n' }],
    ['no text at all', { 'acme.mjs': '' }],
    ['a mistake in the rules', { 'acme.mjs': module('nobody'), 'pg_hba.conf': 'host all' }],
    ['a mistake in the users', { 'acme.mjs': module('nobody'), 'users.toml': '[dora]\n' }],
  ])('does not count with %s', async (_what, files) => {
    const proxy = await startWith(module('carol'))
    writeAll(proxy, files)
    await proxy.hangup()
    expect(proxy.lines.at(-1)?.msg).toBe('configuration was not reloaded')
    expect(await getsIn(proxy)).toBe(true)
  })

  test('decides by its old text for who is on the way in', async () => {
    const proxy = await startWith(module('carol'))
    const carol = await open(proxy, 'carol')
    await carol.readMessage()
    proxy.write('acme.mjs', module('nobody'))
    await proxy.hangup()
    expect(await present(carol, 'token')).toBe(true)
    expect(await getsIn(proxy)).toBe(false)
  })
})

describe('who is on the way in', () => {
  test('gets in by the rules, the map and the password of before', async () => {
    const proxy = await start()
    const carol = await open(proxy, 'carol')
    expect((await carol.readMessage()).body.readInt32BE(0)).toBe(10)
    writeAll(proxy, {
      ...version('new'),
      'pg_hba.conf': 'host all all 127.0.0.1/32 reject',
      'users.toml': '[carol]\npassword = "wrong"\n',
    })
    await proxy.hangup()
    expect(await isTrusted(proxy, 'carol')).toBe(false)
    expect(await present(carol, 'carol')).toBe(true)
  })

  test('is refused by the rules of before', async () => {
    const proxy = await start()
    writeAll(proxy, { 'pg_ident.conf': 'm carol caroline\n' })
    await proxy.hangup()
    const carol = await open(proxy, 'carol')
    await carol.readMessage()
    writeAll(proxy, { 'pg_hba.conf': 'host all all 127.0.0.1/32 trust' })
    await proxy.hangup()
    expect(await isTrusted(proxy, 'carol')).toBe(true)
    expect(await present(carol, 'carol')).toBe(false)
  })

  test('goes on in a reload that fails', async () => {
    const proxy = await start()
    const carol = await open(proxy, 'carol')
    await carol.readMessage()
    writeAll(proxy, { 'pg_hba.conf': 'nonsense' })
    await proxy.hangup()
    expect(await present(carol, 'carol')).toBe(true)
  })
})

test('a session stays, though it could not begin any more', async () => {
  const proxy = await start()
  const dora = await open(proxy, 'dora')
  expect(await hasSession(dora)).toBe(true)
  writeAll(proxy, { ...version('new'), 'pg_hba.conf': 'host all all 127.0.0.1/32 reject' })
  for (let round = 0; round < 3; round += 1) {
    await proxy.hangup()
  }
  expect(await isTrusted(proxy, 'dora')).toBe(false)
  dora.send(query('select 1'))
  expect((await dora.readUntil('Z')).map(({ type }) => type).join('')).toBe('TDCZ')
})

describe('settings', () => {
  test('authentication_timeout counts for connections after the reload', async () => {
    const proxy = await start()
    const before = await open(proxy, 'carol')
    await before.readMessage()
    const text = version('old')['pgbearer.toml'] ?? ''
    proxy.write('pgbearer.toml', `authentication_timeout = "1s"\n${text}`)
    await proxy.hangup()
    const after = await open(proxy, 'carol')
    await after.readMessage()
    await after.expectClose()
    expect(await present(before, 'carol')).toBe(true)
  })

  test('that need a restart stay as they are, are named, and hinder no others', async () => {
    const proxy = await start()
    const text = (version('new')['pgbearer.toml'] ?? '')
      .replace('port = 0', 'port = 6543')
      .replace('["127.0.0.1"]', '["127.0.0.2"]')
    const more = `max_connections = 1
max_handshakes_in_progress = 1
max_logins_in_progress = 1
login_queue_size = 0
unix_socket_directories = ["."]
log_format = "text"
log_min_messages = "fatal"
`
    proxy.write('pgbearer.toml', more + text)
    proxy.fresh()
    await proxy.hangup()
    const said = proxy.fresh().map(({ msg }) => msg)
    const named = said.flatMap(
      (msg) =>
        /^parameter "(\w+)" cannot be changed without restarting the server$/.exec(msg)?.[1] ?? [],
    )
    expect(named.sort()).toEqual([
      'listen_addresses',
      'log_format',
      'log_min_messages',
      'login_queue_size',
      'max_connections',
      'max_handshakes_in_progress',
      'max_logins_in_progress',
      'port',
      'unix_socket_directories',
    ])
    expect(said.at(-1)).toBe('configuration was reloaded')
    const clients = [await open(proxy, 'dora'), await open(proxy, 'dora')]
    expect(await Promise.all(clients.map(hasSession))).toEqual([true, true])
    expect(proxy.fresh().some(({ msg }) => msg.startsWith('connection received'))).toBe(false)
  })

  test('that are as they were are not named', async () => {
    const proxy = await start()
    await proxy.hangup()
    expect(proxy.lines.some(({ msg }) => msg.includes('cannot be changed'))).toBe(false)
  })

  test('shutdown_timeout of the last reload counts', async () => {
    const proxy = await start()
    const dora = await open(proxy, 'dora')
    expect(await hasSession(dora)).toBe(true)
    const text = version('old')['pgbearer.toml'] ?? ''
    proxy.write('pgbearer.toml', `shutdown_timeout = 0\n${text}`)
    await proxy.hangup()
    await proxy.server.close()
    expect((await dora.readError())['C']).toBe('57P01')
  })
})

test('a reload after the end is refused', async () => {
  const proxy = await start()
  await proxy.server.close({ timeout: 0 })
  await expect(proxy.server.reload()).rejects.toMatchObject({ code: 'ERR_SERVER_CLOSING' })
})
