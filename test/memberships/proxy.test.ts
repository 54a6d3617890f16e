/** A proxy that reads memberships from the server behind, which comes and goes. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { createServer } from '../../src/server.ts'
import { firstMessage, fixtureValidator, ISSUER } from '../support/oauth-proxy.ts'
import { withPostgres } from '../support/postgres.ts'
import { startProxy, type TestProxy, type TestProxyOptions } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import { kvsep, oauthBearer, saslResponse, startupMessage } from '../support/wire-bytes.ts'
import { scriptedServer } from '../upstream/support.ts'
import { type Gateway, startGateway } from './support.ts'

const postgres = withPostgres({ hba: 'host all all 127.0.0.1/32 scram-sha-256' })

const USERS = '[reader]\npassword = "reader-password"\n'
const UNKNOWN = 'the database system is not yet accepting connections'

async function makeRoles(): Promise<void> {
  await postgres().query(`
    drop role if exists reader, ann, bob, dev, banned;
    create role reader login password 'reader-password';
    create role ann login; create role bob login; create role dev; create role banned;
    grant dev to ann`)
}

interface Setting extends Partial<TestProxyOptions> {
  readonly hba: string
  readonly open?: boolean
}

async function proxyWithGateway({
  open = true,
  ...options
}: Setting): Promise<{ proxy: TestProxy; gateway: Gateway }> {
  await makeRoles()
  const gateway = await startGateway(postgres().port, { open })
  onTestFinished(() => gateway[Symbol.asyncDispose]())
  const proxy = await startProxy({
    files: { 'users.toml': USERS },
    upstream: {
      host: '127.0.0.1',
      port: gateway.port,
      sslmode: 'disable',
      users_file: 'users.toml',
      memberships_user: 'reader',
      memberships_refresh: '1s',
    },
    ...options,
  })
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  return { proxy, gateway }
}

/** `in`, or what the client reads. */
async function verdict({ port }: TestProxy, user: string, database = 'db'): Promise<string> {
  const client = await rawClient({ port })
  client.send(startupMessage({ user, database }))
  const { type, body } = await client.readMessage()
  client.destroy()
  return type === 'R'
    ? 'in'
    : (/\0M([^\0]*)/.exec(body.toString('utf8'))?.[1] ?? body.toString('utf8'))
}

const NO_ENTRY = /^no pg_hba\.conf entry/
const REJECTS = /^pg_hba\.conf rejects connection/

describe('with the server behind there', () => {
  test('the first client is already decided by its memberships', async () => {
    const { proxy } = await proxyWithGateway({ hba: 'host all +dev 127.0.0.1/32 trust' })
    expect(await verdict(proxy, 'ann')).toBe('in')
    expect(await verdict(proxy, 'dev')).toBe('in')
    expect(await verdict(proxy, 'bob')).toMatch(NO_ENTRY)
    expect(await verdict(proxy, 'ghost')).toMatch(NO_ENTRY)
    expect(await verdict(proxy, postgres().superuser)).toMatch(NO_ENTRY)
  })

  test('samerole is decided by them, too', async () => {
    const { proxy } = await proxyWithGateway({ hba: 'host samerole all 127.0.0.1/32 trust' })
    expect(await verdict(proxy, 'ann', 'dev')).toBe('in')
    expect(await verdict(proxy, 'bob', 'dev')).toMatch(NO_ENTRY)
  })

  test('a grant and its end count after the interval, without a reload', async () => {
    const { proxy } = await proxyWithGateway({ hba: 'host all +dev 127.0.0.1/32 trust' })
    await postgres().query('revoke dev from ann; grant dev to bob')
    await expect.poll(() => verdict(proxy, 'ann'), { timeout: 10_000 }).toMatch(NO_ENTRY)
    expect(await verdict(proxy, 'bob')).toBe('in')
  })

  test('a reload asks at once', async () => {
    const { proxy, gateway } = await proxyWithGateway({
      hba: 'host all +dev 127.0.0.1/32 trust',
      upstream: {
        host: '127.0.0.1',
        port: postgres().port,
        sslmode: 'disable',
        users_file: 'users.toml',
        memberships_user: 'reader',
        memberships_refresh: '1d',
      },
    })
    expect(gateway.passed()).toBe(0)
    await postgres().query('revoke dev from ann')
    expect(await verdict(proxy, 'ann')).toBe('in')
    await proxy.server.reload()
    expect(await verdict(proxy, 'ann')).toMatch(NO_ENTRY)
  })
})

describe('while nothing was ever read', () => {
  test('the proxy starts, and a line for members lets nobody in', async () => {
    const { proxy } = await proxyWithGateway({
      open: false,
      hba: 'host all +dev 127.0.0.1/32 trust',
    })
    expect(await verdict(proxy, 'ann')).toBe(UNKNOWN)
    const line = await proxy.logged(({ code }) => code === 'ERR_MEMBERSHIPS_UNKNOWN')
    expect(line).toMatchObject({
      level: 'fatal',
      sqlState: '57P03',
      reason: 'memberships_unknown',
      detail: 'Role memberships have not been read from the server behind yet.',
      hba: { line: 1 },
    })
  })

  test('a reject line for members is not skipped', async () => {
    const { proxy } = await proxyWithGateway({
      open: false,
      hba: 'host all +banned 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 trust',
    })
    expect(await verdict(proxy, 'bob')).toBe(UNKNOWN)
  })

  test('a reject line for databases of members is not skipped', async () => {
    const { proxy } = await proxyWithGateway({
      open: false,
      hba: 'host samerole all 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 trust',
    })
    expect(await verdict(proxy, 'bob', 'dev')).toBe(UNKNOWN)
  })

  test('a reject line for members is not skipped among very many lines', async () => {
    const many = Array.from({ length: 400 }, (_, n) => `host db${n} u${n} 127.0.0.1/32 trust`)
    const { proxy } = await proxyWithGateway({
      open: false,
      hba: ['host all +banned 127.0.0.1/32 reject', ...many].join('\n'),
    })
    expect(await verdict(proxy, 'u7', 'db7')).toBe(UNKNOWN)
  })

  test('lines before those for members, and lines for others, decide as ever', async () => {
    const { proxy } = await proxyWithGateway({
      open: false,
      hba: [
        'host all bob 127.0.0.1/32 trust',
        'host other +dev 127.0.0.1/32 trust',
        'host all +dev 10.0.0.0/8 trust',
        'host all all 127.0.0.1/32 reject',
      ].join('\n'),
    })
    expect(await verdict(proxy, 'bob')).toBe('in')
    expect(await verdict(proxy, 'ann')).toMatch(REJECTS)
  })

  test('a map line for members refuses a good token, and the log says why', async () => {
    const { proxy } = await proxyWithGateway({
      open: false,
      hba: `host all all 127.0.0.1/32 oauth issuer=${ISSUER} scope=db map=m`,
      ident: 'm /^ann$ +dev\nm ann all\n',
      oauth_validator_libraries: [fixtureValidator('accepts-anything')],
    })
    const client = await rawClient({ port: proxy.port })
    client.send(startupMessage({ user: 'ann', database: 'db' }))
    await client.readMessage()
    client.send(firstMessage(oauthBearer('Bearer ann')))
    expect((await client.readMessage()).body.toString()).toContain('invalid_token')
    client.send(saslResponse(kvsep))
    expect((await client.readError())['M']).toBe(
      'OAuth bearer authentication failed for user "ann"',
    )
    const line = await proxy.logged(({ reason }) => reason === 'memberships_unknown')
    expect(line).toMatchObject({ code: 'ERR_OAUTH_AUTHENTICATION', hba: { line: 1 } })
  })

  test('the log says so once, and not for each client', async () => {
    const { proxy } = await proxyWithGateway({
      open: false,
      hba: 'host all +dev 127.0.0.1/32 trust',
    })
    for (let round = 0; round < 3; round += 1) {
      await verdict(proxy, 'ann')
    }
    const said = proxy.lines.filter(
      ({ level, msg }) => level === 'error' && /could not read role/.test(msg),
    )
    expect(said).toHaveLength(1)
    expect(said[0]).toMatchObject({ code: 'ERR_UPSTREAM', reason: expect.any(String) })
  })

  test('the first answer lets members in without a restart', async () => {
    const { proxy, gateway } = await proxyWithGateway({
      open: false,
      hba: 'host all +dev 127.0.0.1/32 trust',
    })
    expect(await verdict(proxy, 'ann')).toBe(UNKNOWN)
    gateway.open()
    await proxy.logged(({ msg }) => msg === 'role memberships were read again')
    expect(await verdict(proxy, 'ann')).toBe('in')
    expect(await verdict(proxy, 'bob')).toMatch(NO_ENTRY)
  })

  test('a wrong password for the reader is told without the password', async () => {
    const { proxy } = await proxyWithGateway({
      hba: 'host all +dev 127.0.0.1/32 trust',
      files: { 'users.toml': '[reader]\npassword = "not-its-password"\n' },
    })
    expect(await verdict(proxy, 'ann')).toBe(UNKNOWN)
    const line = await proxy.logged(({ msg }) => msg.startsWith('could not read role'))
    expect(line).toMatchObject({ level: 'error', code: 'ERR_UPSTREAM_REFUSED' })
    expect(line.detail).toContain('password authentication failed for user "reader"')
    expect(proxy.logText()).not.toContain('not-its-password')
  })
})

test('a server behind that is silent delays neither the end nor, for longer than its timeout, the start', async () => {
  await using silent = await scriptedServer(async (peer) => peer.untilGone())
  const proxy = await startProxy({
    hba: 'host all +dev 127.0.0.1/32 trust',
    upstream: {
      host: '127.0.0.1',
      port: silent.port,
      sslmode: 'disable',
      connect_timeout: '1s',
      memberships_user: 'reader',
    },
  })
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  expect(await verdict(proxy, 'ann')).toBe(UNKNOWN)
  const asked = silent.accepted()
  const reloading = proxy.server.reload()
  await expect.poll(() => silent.accepted()).toBeGreaterThan(asked)
  await proxy.server.close({ timeout: 0 })
  await expect(reloading).rejects.toMatchObject({ code: 'ERR_SERVER_CLOSING' })
  await silent.untilIdle()
})

describe('while the server behind is away', () => {
  test('the last answer serves, its age is in the log once, and its return, too', async () => {
    const { proxy, gateway } = await proxyWithGateway({ hba: 'host all +dev 127.0.0.1/32 trust' })
    gateway.close()
    const gone = await proxy.logged(({ msg }) => msg.endsWith('the last ones stay in force'))
    expect(gone).toMatchObject({ level: 'warning', age: expect.stringMatching(/^\d+ s$/) })
    expect(await verdict(proxy, 'ann')).toBe('in')
    expect(await verdict(proxy, 'bob')).toMatch(NO_ENTRY)
    // The next failure is told at debug level only.
    await proxy.logged(({ level, msg }) => level === 'debug' && /could not read role/.test(msg))
    expect(proxy.lines.filter(({ msg }) => msg.endsWith('stay in force'))).toHaveLength(1)
    gateway.open()
    const back = await proxy.logged(({ msg }) => msg === 'role memberships were read again')
    expect(back).toMatchObject({ previousAge: expect.stringMatching(/^\d+ s$/) })
  })

  test('only the newest of many reloads asks on', async () => {
    const { proxy, gateway } = await proxyWithGateway({ hba: 'host all +dev 127.0.0.1/32 trust' })
    for (let round = 0; round < 5; round += 1) {
      await proxy.server.reload()
    }
    gateway.close()
    const failed = ({ msg }: { msg: string }): boolean => /could not read role/.test(msg)
    await proxy.logged((line) => failed(line) && line.level === 'warning')
    await proxy.logged((line) => failed(line) && line.level === 'debug')
    expect(proxy.lines.filter(failed)).toHaveLength(2)
  })

  test('the last answer outlives a reload that asks the same server', async () => {
    const { proxy, gateway } = await proxyWithGateway({ hba: 'host all +dev 127.0.0.1/32 trust' })
    gateway.close()
    proxy.writeFile('pg_hba.conf', 'host db +dev 127.0.0.1/32 trust')
    await proxy.server.reload()
    expect(await verdict(proxy, 'ann')).toBe('in')
    expect(await verdict(proxy, 'bob')).toMatch(NO_ENTRY)
    expect(await verdict(proxy, 'ann', 'other')).toMatch(NO_ENTRY)
  })
})

describe('settings', () => {
  const upstream = { host: '127.0.0.1', port: 1, sslmode: 'disable' } as const

  test('two sources at a time are an error that names the place', async () => {
    await expect(
      createServer({
        role_memberships: { dev: ['ann'] },
        upstream: { ...upstream, memberships_user: 'reader' },
      }),
    ).rejects.toThrow(
      'invalid value for parameter "upstream.memberships_user": role memberships come either from here or from "role_memberships", not from both',
    )
  })

  test('a line for members needs a source', async () => {
    await expect(startProxy({ hba: 'host all +dev 127.0.0.1/32 trust' })).rejects.toThrow(
      'needs role memberships',
    )
  })

  test.each(['0s', '2d', 'never'])('an interval of %s is an error', async (interval) => {
    await expect(
      createServer({
        upstream: { ...upstream, memberships_user: 'reader', memberships_refresh: interval },
      }),
    ).rejects.toThrow('upstream.memberships_refresh')
  })
})
