import { describe, expect, it, vi } from 'vitest'
import { withLibpq } from '../support/libpq.ts'
import { withWholePath } from '../support/whole-path.ts'

const path = withWholePath()
const libpq = withLibpq()

const logIn = async (user: string, token: string, more: Record<string, string> = {}) =>
  libpq().login({ conninfo: path().conninfo(user, more), token })

const refused = (user: string) => `OAuth bearer authentication failed for user "${user}"`

describe('a signed token through libpq 18', () => {
  it('becomes its role in PostgreSQL, over TLS and a SCRAM login behind', async () => {
    const token = await path().issuer.mintToken({ sub: 'alice' })
    const { connection } = await logIn('alice', token)
    const answer = await connection?.execute(
      'select current_user, session_user, pg_backend_pid() > 0, current_database()',
    )
    expect(answer?.rows).toEqual([['alice', 'alice', 't', 'postgres']])
    await connection?.close()
    const { proxy } = path()
    await proxy.logged(({ msg }) =>
      /^connection authenticated: identity="alice" method=oauth \(.*pg_hba\.conf:1\)$/.test(msg),
    )
    await proxy.logged(({ msg }) =>
      /^connection authorized: user=alice database=postgres.* SSL enabled \(protocol=TLSv1\.3, cipher=TLS_AES_256_GCM_SHA384, bits=256\)$/.test(
        msg,
      ),
    )
  })

  it('works by direct TLS', async () => {
    const token = await path().issuer.mintToken({ sub: 'bob' })
    const { connection, error } = await logIn('bob', token, { sslnegotiation: 'direct' })
    expect(error).toBe('')
    expect((await connection?.execute('select current_user'))?.rows).toEqual([['bob']])
    await connection?.close()
  })

  it('works on a Unix socket', async () => {
    const token = await path().issuer.mintToken({ sub: 'alice' })
    const { connection, error } = await libpq().login({
      conninfo: {
        host: path().proxy.directory,
        port: path().proxy.port,
        user: 'alice',
        dbname: 'postgres',
        oauth_issuer: path().issuer.issuer,
        oauth_client_id: 'psql',
        require_auth: 'oauth',
      },
      token,
    })
    expect(error).toBe('')
    await connection?.close()
  })

  it('asks the issuer for nothing once its keys are there', async () => {
    const first = await logIn('alice', await path().issuer.mintToken({ sub: 'alice' }))
    await first.connection?.close()
    const before = path().issuer.requests.length
    for (let login = 0; login < 5; login += 1) {
      const { connection, error } = await logIn(
        'alice',
        await path().issuer.mintToken({ sub: 'alice' }),
      )
      expect(error).toBe('')
      await connection?.close()
    }
    expect(path().issuer.requests.length).toBe(before)
  })
})

describe('a login is refused, always in the same words,', () => {
  const seconds = () => Math.floor(Date.now() / 1000)

  it.each([
    ['an expired token', () => ({ exp: seconds() - 600, iat: seconds() - 1200 }), 'expired'],
    ['a token of another audience', () => ({ aud: 'https://other.example' }), 'wrong_audience'],
    ['a token of another issuer', () => ({ iss: 'https://other.example' }), 'unknown_issuer'],
    ['a token for another role', () => ({ sub: 'bob' }), 'usermap_mismatch'],
    ['a token without the scope', () => ({ scope: 'mail' }), 'insufficient_scope'],
    ['a token that never expires', () => ({ exp: undefined }), 'missing_claim'],
  ])('for %s', async (_what, claims, reason) => {
    const from = path().proxy.lines.length
    const token = await path().issuer.mintToken({ sub: 'alice', ...claims() })
    const { connection, error } = await logIn('alice', token)
    expect(connection).toBeUndefined()
    expect(error).toContain(refused('alice'))
    await path().proxy.logged(
      (line) => path().proxy.lines.indexOf(line) >= from && line.msg === refused('alice'),
    )
    const line = path()
      .proxy.lines.slice(from)
      .find(({ msg }) => msg === refused('alice'))
    expect(line?.reason).toBe(reason)
  })

  it('for a token whose signature is another’s', async () => {
    const token = await path().issuer.mintToken({ sub: 'alice' })
    const other = await path().issuer.mintToken({ sub: 'alice', jti: 'x' })
    const forged = [...token.split('.').slice(0, 2), other.split('.')[2]].join('.')
    const { error } = await logIn('alice', forged)
    expect(error).toContain(refused('alice'))
  })

  it('for a client without a token, which learns where to get one', async () => {
    const { error } = await libpq().login({ conninfo: path().conninfo('alice'), token: null })
    expect(error).toContain('user-defined OAuth flow failed')
  })
})

describe('an error of the server behind', () => {
  it('reaches the client as the server sent it: a database that is not there', async () => {
    const token = await path().issuer.mintToken({ sub: 'alice' })
    const { error } = await logIn('alice', token, { dbname: 'nowhere' })
    expect(error).toContain('FATAL:  database "nowhere" does not exist')
  })

  it('reaches the client as the server sent it: a role that is not there', async () => {
    const token = await path().issuer.mintToken({ sub: 'ghost' })
    const { error } = await logIn('ghost', token)
    expect(error).toContain('password authentication failed for user "ghost"')
  })

  it('reaches the client as the server sent it: a wrong password in users_file', async () => {
    const token = await path().issuer.mintToken({ sub: 'mismatched' })
    const { error } = await logIn('mismatched', token)
    expect(error).toContain('FATAL:  password authentication failed for user "mismatched"')
  })

  it('names no host where there is no password for the role', async () => {
    const token = await path().issuer.mintToken({ sub: 'carol' })
    const { error } = await logIn('carol', token)
    expect(error).toContain('could not log in to the database server')
    const line = await path().proxy.logged(({ code }) => code === 'ERR_UPSTREAM')
    expect(line).toMatchObject({ reason: 'no_credential' })
  })

  it('is a startup parameter’s, too', async () => {
    const token = await path().issuer.mintToken({ sub: 'alice' })
    const { error } = await logIn('alice', token, { options: '-c no_such_setting=1' })
    expect(error).toContain('unrecognized configuration parameter "no_such_setting"')
  })
})

describe('a session', () => {
  const connect = async (user = 'alice', more: Record<string, string> = {}) => {
    const token = await path().issuer.mintToken({ sub: user })
    return libpq().connect({ conninfo: path().conninfo(user, more), token })
  }

  it('has the client’s startup parameters', async () => {
    const connection = await connect('alice', {
      application_name: 'wrk-1',
      options: '-c search_path=elsewhere',
    })
    const { rows } = await connection.execute(
      "select current_setting('application_name'), current_setting('search_path')",
    )
    expect(rows).toEqual([['wrk-1', 'elsewhere']])
    await connection.close()
  })

  it('copies in and out, byte for byte', async () => {
    const connection = await connect()
    await connection.execute('create temp table copied (line text)')
    const lines = Array.from({ length: 5000 }, (_, index) => `${index} ${'x'.repeat(index % 300)}`)
    const copied = await connection.execute('copy copied from stdin', {
      copyIn: lines.map((line) => `${line}\n`),
    })
    expect(copied.error).toBe('')
    const { rows } = await connection.execute(
      "select line from copied order by split_part(line, ' ', 1)::int",
    )
    expect(rows.map(([line]) => line)).toEqual(lines)
    await connection.close()
  })

  it('passes large rows', async () => {
    const connection = await connect()
    const { rows } = await connection.execute("select repeat('0123456789', 3000000)")
    expect(rows[0]?.[0]).toHaveLength(30_000_000)
    await connection.close()
  })

  it('hears notifications', async () => {
    const [listener, speaker] = [await connect('alice'), await connect('bob')]
    await listener.execute('listen news')
    await speaker.execute("notify news, 'read all about it'")
    const [heard] = await listener.notifications()
    expect(heard).toMatchObject({ channel: 'news', payload: 'read all about it' })
    await listener.close()
    await speaker.close()
  })

  it.each(['3.0', '3.2'])('is cancelled in protocol %s', async (version) => {
    const connection = await connect('alice', { max_protocol_version: version })
    const sleeping = connection.execute('select pg_sleep(60)')
    // Statistics are read once per transaction: each look is one of its own.
    await vi.waitFor(async () => {
      const active = await path().postgres.query(
        "select from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'",
      )
      expect(active).toHaveLength(1)
    }, 10_000)
    expect(await connection.cancel()).toBe('')
    expect((await sleeping).error).toContain('canceling statement due to user request')
    await connection.close()
  })

  it('may be a replication one', async () => {
    const physical = await connect('alice', { replication: 'true' })
    const identified = await physical.execute('IDENTIFY_SYSTEM')
    expect(identified.error).toBe('')
    expect(identified.rows).toHaveLength(1)
    await physical.close()
    const logical = await connect('alice', { replication: 'database' })
    expect((await logical.execute('IDENTIFY_SYSTEM')).rows[0]?.[3]).toBe('postgres')
    await logical.close()
  })
})
