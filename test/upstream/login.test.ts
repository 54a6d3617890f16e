import { Buffer } from 'node:buffer'
import net from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EmbeddedPostgres } from '../../src/demo/embedded-postgres.ts'
import { UpstreamError } from '../../src/errors.ts'
import { startupMessage } from '../../src/protocol/frontend-messages.ts'
import type { UpstreamStartup } from '../../src/upstream/connect-upstream.ts'
import { reportedParameters } from '../../src/upstream/greeting.ts'
import type { UpstreamCredential } from '../../src/upstream/credential.ts'
import { UpstreamRefusedError } from '../../src/upstream/errors.ts'
import { sendCancelRequest } from '../../src/upstream/send-cancel-request.ts'
import { deriveKeys } from '../../src/upstream/scram-keys.ts'
import type { UpstreamSettings } from '../../src/upstream/settings.ts'
import { startPostgres } from '../support/postgres.ts'
import { connect, messageTypes, query, startup, upstreamSettings } from './support.ts'

const HBA = `
local all all scram-sha-256
host all,replication trusted 127.0.0.1/32 trust
host all clear 127.0.0.1/32 password
host all hashed 127.0.0.1/32 md5
host all,replication all 127.0.0.1/32 scram-sha-256
`

const never = new AbortController().signal

let server: EmbeddedPostgres
let tcp: UpstreamSettings

beforeAll(async () => {
  server = await startPostgres({ hba: HBA })
  await server.query(`
    CREATE ROLE trusted LOGIN REPLICATION;
    CREATE ROLE clear LOGIN PASSWORD 'in the clear';
    CREATE ROLE alice LOGIN REPLICATION PASSWORD 'secret';
    SET password_encryption = md5;
    CREATE ROLE hashed LOGIN PASSWORD 'hashed secret';
  `)
  tcp = upstreamSettings({ port: server.port })
})

afterAll(() => server.stop())

/** What the server itself answers to a startup packet that needs no further message. */
async function rawAnswer(to: UpstreamStartup): Promise<Buffer> {
  const socket = net.connect(server.port, '127.0.0.1')
  socket.write(startupMessage(to.version, to.parameters))
  const chunks: Buffer[] = []
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

async function whoAmI(settings: UpstreamSettings, user: string, credential?: UpstreamCredential) {
  const answer = await query(
    await connect(settings, startup(user), credential),
    'SELECT current_user',
  )
  return answer.toString('latin1')
}

describe('logging in', () => {
  test.each([
    ['trust', 'trusted', undefined],
    ['a cleartext password', 'clear', { password: 'in the clear' }],
    ['MD5', 'hashed', { password: 'hashed secret' }],
    ['SCRAM-SHA-256', 'alice', { password: 'secret' }],
  ])('answers %s and is the role', async (_method, user, credential) => {
    expect(await whoAmI(tcp, user, credential)).toContain(`${user}C`)
  })

  test('answers SCRAM with the two keys and no password', async () => {
    const [row] = await server.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'")
    const [, iterations = '', salt = ''] = String(row?.['rolpassword']).split(/[$:]/)
    const keys = await deriveKeys('secret', Buffer.from(salt, 'base64'), Number(iterations))
    const credential = { scramClientKey: keys.clientKey, scramServerKey: keys.serverKey }
    expect(await whoAmI(tcp, 'alice', credential)).toContain('aliceC')
  })

  test('reaches a Unix socket by the name PostgreSQL gives it, whatever sslmode says', async () => {
    for (const sslmode of ['disable', 'require', 'verify-full'] as const) {
      const local = upstreamSettings({ host: server.socketDirectory, port: server.port, sslmode })
      expect(await whoAmI(local, 'alice', { password: 'secret' })).toContain('aliceC')
    }
  })

  test('tries every address of a name', async () => {
    const local = upstreamSettings({ host: 'localhost', port: server.port })
    expect(await whoAmI(local, 'trusted')).toContain('trustedC')
  })

  test('forwards every startup parameter', async () => {
    const connection = await connect(
      tcp,
      startup('trusted', {
        database: 'template1',
        application_name: 'my app',
        options: '-c statement_timeout=12345',
        DateStyle: 'German',
      }),
    )
    const parameters = reportedParameters(connection.greeting)
    expect(parameters.get('application_name')).toBe('my app')
    expect(parameters.get('DateStyle')).toBe('German, DMY')
    const sql = "SELECT current_database() || ' ' || current_setting('statement_timeout')"
    expect((await query(connection, sql)).toString('latin1')).toContain('template1 12345ms')
  })

  test('forwards replication=true: the session takes replication commands', async () => {
    const physical = await connect(tcp, startup('trusted', { replication: 'true' }))
    expect((await query(physical, 'IDENTIFY_SYSTEM')).toString('latin1')).toContain('systemid')
  })

  test('forwards replication=database: the session takes both kinds of commands', async () => {
    const as = startup('alice', { replication: 'database', database: 'postgres' })
    const logical = await connect(tcp, as, { password: 'secret' })
    expect((await query(logical, 'SHOW wal_level')).toString('latin1')).toContain('replica')
    const again = await connect(tcp, as, { password: 'secret' })
    expect((await query(again, 'IDENTIFY_SYSTEM')).toString('latin1')).toContain('postgres')
  })
})

describe('the greeting', () => {
  test('is what the server sends to a client of its own, from behind AuthenticationOk', async () => {
    const as = startup('trusted')
    const raw = rawAnswerUntilReady(as)
    const connection = await connect(tcp, as)
    connection.socket.destroy()
    const expected = (await raw).subarray(9)
    expect(messageTypes(connection.greeting)).toMatch(/^S{10,}KZ$/)
    expect(withoutKey(connection.greeting)).toEqual(withoutKey(expected))
  })

  test('keeps the notices that come with it', async () => {
    const as = startup('trusted', { application_name: 'x'.repeat(100), database: 'postgres' })
    const { greeting, socket } = await connect(tcp, as)
    socket.destroy()
    expect(messageTypes(greeting)).toMatch(/N.*KZ$/)
  })

  test('has a cancel key of 4 bytes in protocol 3.0 and of 32 bytes in 3.2', async () => {
    for (const [version, length] of [
      [0x30000, 4],
      [0x30002, 32],
    ] as const) {
      const connection = await connect(tcp, startup('trusted', { database: 'postgres' }, version))
      connection.socket.destroy()
      expect(connection.version).toBe(version)
      expect(connection.cancelKey?.key).toHaveLength(length)
      const K = connection.greeting.lastIndexOf(connection.cancelKey!.key)
      expect(connection.greeting.readInt32BE(K - 4)).toBe(connection.cancelKey?.processId)
    }
  })

  test('leaves what the server says next in the source', async () => {
    const connection = await connect(tcp, startup('trusted'))
    expect(connection.source.buffered).toBe(0)
    expect(messageTypes(await query(connection, 'SELECT 1'))).toBe('TDCZ')
  })
})

describe('a refusal', () => {
  async function refusal(as: UpstreamStartup, credential?: UpstreamCredential) {
    return connect(tcp, as, credential).then(
      () => expect.unreachable('logged in'),
      (error: unknown) => {
        expect(error).toBeInstanceOf(UpstreamRefusedError)
        return error as UpstreamRefusedError
      },
    )
  }

  test.each([
    ['an unknown database', startup('trusted', { database: 'nowhere' }), '3D000'],
    [
      'an impossible setting',
      startup('trusted', { database: 'postgres', DateStyle: 'nonsense' }),
      '22023',
    ],
    [
      'an unknown setting',
      startup('trusted', { database: 'postgres', no_such_setting: '1' }),
      '42704',
    ],
    ['a newer major version', startup('trusted', {}, 0x40000), '0A000'],
    ['an unknown role', startup('nobody-in-particular', { database: 'postgres' }), '28P01'],
  ])('for %s is the bytes that the server sends', async (_what, as, sqlState) => {
    const error = await refusal(as, { password: 'whatever' })
    expect(error.sqlState).toBe(sqlState)
    expect(messageTypes(error.bytes)).toBe('E')
    if (sqlState !== '28P01') {
      expect((await rawAnswer(as)).subarray(-error.bytes.length)).toEqual(error.bytes)
    }
  })

  test.each([['clear'], ['hashed'], ['alice']])(
    'of a wrong password of %s says what PostgreSQL says',
    async (user) => {
      const error = await refusal(startup(user), { password: 'wrong' })
      expect(error.sqlState).toBe('28P01')
      expect(error.message).toBe(`password authentication failed for user "${user}"`)
      expect(error.beforeAuthenticationOk).toBe(true)
      expect(error.bytes.toString('latin1')).toContain(error.message)
    },
  )

  test('of wrong SCRAM keys is the same as that of a wrong password', async () => {
    const zeros = Buffer.alloc(32)
    const error = await refusal(startup('alice'), { scramClientKey: zeros, scramServerKey: zeros })
    expect(error.message).toBe('password authentication failed for user "alice"')
  })

  test('of a database is known to come after the login', async () => {
    const error = await refusal(startup('trusted', { database: 'nowhere' }))
    expect(error.beforeAuthenticationOk).toBe(false)
  })

  test('brings the notices that came before it, and not the ParameterStatus', async () => {
    const as = startup('trusted', {
      database: 'postgres',
      application_name: 'x'.repeat(100),
      DateStyle: 'nonsense',
    })
    const error = await refusal(as)
    expect(messageTypes(error.bytes)).toBe('NE')
    expect((await rawAnswer(as)).subarray(-error.bytes.length)).toEqual(error.bytes)
  })
})

describe('without something to answer with', () => {
  test.each([
    ['clear', 'password'],
    ['hashed', 'md5'],
    ['alice', 'SCRAM-SHA-256'],
  ])('%s is not logged in, and only the log learns why', async (user, method) => {
    const error: unknown = await connect(tcp, startup(user)).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(UpstreamError)
    expect(error).toMatchObject({
      message: 'could not log in to the database server',
      reason: 'no_credential',
    })
    expect((error as UpstreamError).logDetail).toContain(`role "${user}"`)
    expect((error as UpstreamError).logDetail).toContain(method)
  })

  test.each(['clear', 'hashed'])('SCRAM keys do not do for %s', async (user) => {
    const keys = { scramClientKey: Buffer.alloc(32), scramServerKey: Buffer.alloc(32) }
    await expect(connect(tcp, startup(user), keys)).rejects.toMatchObject({
      reason: 'no_credential',
    })
  })

  test.each([
    ['none', 'trusted'],
    ['password', 'clear'],
    ['md5', 'hashed'],
    ['scram-sha-256', 'alice'],
  ] as const)('%s is refused where require_auth does not list it', async (method, user) => {
    const others = (['none', 'password', 'md5', 'scram-sha-256'] as const).filter(
      (other) => other !== method,
    )
    const settings = { ...tcp, requireAuth: others }
    await expect(connect(settings, startup(user), { password: 'x' })).rejects.toMatchObject({
      reason: 'method_not_allowed',
    })
  })

  test.each(['trusted', 'clear', 'hashed', 'alice'])(
    '%s is refused where channel binding is required',
    async (user) => {
      const settings = { ...tcp, channelBinding: 'require' as const }
      await expect(connect(settings, startup(user), { password: 'secret' })).rejects.toMatchObject({
        reason: 'channel_binding',
      })
    },
  )
})

describe('a cancel request', () => {
  test.each([
    [0x30000, 'TCP'],
    [0x30002, 'TCP'],
    [0x30002, 'a Unix socket'],
  ])(
    'with the key of version %i ends the statement of its session over %s',
    async (version, over) => {
      const settings = over === 'TCP' ? tcp : { ...tcp, host: server.socketDirectory }
      const as = startup('alice', { database: 'postgres' }, version)
      const connection = await connect(settings, as, { password: 'secret' })
      const answer = query(connection, 'SELECT pg_sleep(600)')
      await untilActive(connection.cancelKey!.processId)
      await sendCancelRequest(settings, connection.cancelKey!, { signal: never })
      expect((await answer).toString('latin1')).toContain('C57014')
    },
  )

  test('with another key leaves the session alone', async () => {
    const connection = await connect(tcp, startup('trusted'))
    const { processId, key } = connection.cancelKey!
    const wrong = Buffer.from(key.map((byte) => byte ^ 1))
    await sendCancelRequest(tcp, { processId, key: wrong }, { signal: never })
    expect(server.log()).toContain(`wrong key in cancel request for process ${processId}`)
    expect(messageTypes(await query(connection, 'SELECT 1'))).toBe('TDCZ')
  })
})

async function untilActive(pid: number): Promise<void> {
  const sql = "SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active'"
  while ((await server.query(sql, [pid])).length === 0) {
    // Not yet.
  }
}

async function rawAnswerUntilReady(to: UpstreamStartup): Promise<Buffer> {
  const socket = net.connect(server.port, '127.0.0.1')
  socket.write(startupMessage(to.version, to.parameters))
  let all = Buffer.alloc(0)
  for await (const chunk of socket) {
    all = Buffer.concat([all, chunk as Buffer])
    if (all.subarray(-6, -5).toString() === 'Z') {
      break
    }
  }
  return all
}

function withoutKey(greeting: Buffer): string {
  const K = greeting.length - 6 - 13
  return `${greeting.toString('latin1', 0, K + 5)}${greeting.toString('latin1', K + 13)}`
}
