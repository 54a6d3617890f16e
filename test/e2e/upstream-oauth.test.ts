/**
 * The proxy in front of a server that wants a token itself. A PostgreSQL 18 would need a validator library in C
 * for that, so a second pgbearer stands in for it, with a real PostgreSQL 18 behind.
 */
import { describe, expect, it, onTestFinished } from 'vitest'
import { startAuthorizationServer } from '../../src/demo/authorization-server.ts'
import type { SettingsInput } from '../../src/config/settings.ts'
import { withLibpq } from '../support/libpq.ts'
import { startProxy, type TestProxy, type TestProxyOptions } from '../support/proxy.ts'
import { withWholePath } from '../support/whole-path.ts'
import { scriptedIssuer, tokenAnswer } from '../client/support/scripted-issuer.ts'

/** Its proxy is the server behind, which takes tokens of the issuer. */
const whole = withWholePath()
const libpq = withLibpq()

type OAuth = NonNullable<SettingsInput['upstream']['oauth']>
type Upstream = Partial<SettingsInput['upstream']>

const tls = () => ({
  ssl: true,
  ssl_cert_file: whole().certificates.files.cert,
  ssl_key_file: whole().certificates.files.key,
})

const jwt = (audience = whole().issuer.audience) => ({
  oauth_validator_libraries: ['jwt'],
  validators: {
    jwt: {
      audiences: [audience],
      http: { ca: whole().certificates.files.ca, egress: 'any' as const },
    },
  },
})

/** A proxy that clients log in to; the one behind is `behind`. */
async function startFront(
  oauth: OAuth | undefined,
  {
    behind = whole().proxy,
    upstream = {},
    ...more
  }: Partial<Omit<TestProxyOptions, 'upstream'>> & { behind?: TestProxy; upstream?: Upstream } = {},
): Promise<TestProxy> {
  const front = await startProxy({
    hba: `hostssl all all 127.0.0.1/32 oauth issuer=${whole().issuer.issuer} scope=db`,
    ...jwt(),
    ...tls(),
    files: { 'issuer-secret': 'exchange-secret\n' },
    upstream: {
      host: 'localhost',
      port: behind.port,
      sslmode: 'verify-full',
      sslrootcert: whole().certificates.files.ca,
      ...(oauth === undefined ? {} : { oauth }),
      ...upstream,
    },
    ...more,
  })
  onTestFinished(() => front[Symbol.asyncDispose]())
  return front
}

/** Another server behind, in front of the same PostgreSQL. */
async function startBehind(options: Partial<TestProxyOptions>): Promise<TestProxy> {
  const behind = await startProxy({
    hba: `hostssl all all 127.0.0.1/32 oauth issuer=${whole().issuer.issuer} scope=db`,
    ...jwt(),
    ...tls(),
    files: {
      'users.toml': '[alice]\npassword = "alice-password"\n[bob]\npassword = "bob-password"',
    },
    upstream: {
      host: whole().postgres.host,
      port: whole().postgres.port,
      sslmode: 'disable',
      users_file: 'users.toml',
    },
    ...options,
  })
  onTestFinished(() => behind[Symbol.asyncDispose]())
  return behind
}

const mint = (claims = {}) => whole().issuer.mintToken({ sub: 'alice', ...claims })

async function logIn(front: TestProxy, token: string, user = 'alice') {
  return libpq().login({ conninfo: whole().conninfo(user, { port: String(front.port) }), token })
}

/** Logs in, asks who it is, and leaves. */
async function whoAmI(front: TestProxy, token: string, user = 'alice'): Promise<unknown> {
  const { connection, error } = await logIn(front, token, user)
  expect(error).toBe('')
  const answer = await connection?.execute('select current_user')
  await connection?.close()
  return answer?.rows[0]?.[0]
}

/** Whose tokens a proxy took. */
const identities = ({ lines }: Pick<TestProxy, 'lines'>): string[] =>
  lines.flatMap(({ msg }) => /^connection authenticated: identity="(.*?)" /.exec(msg)?.[1] ?? [])

const refused = 'OAuth bearer authentication failed for user "alice"'

describe('the client’s own token', () => {
  it('reaches the server behind where the settings say forward, and that is a warning', async () => {
    const front = await startFront({ token: 'forward' })
    const before = identities(whole().proxy).length
    expect(await whoAmI(front, await mint())).toBe('alice')
    expect(identities(front)).toEqual(['alice'])
    expect(identities(whole().proxy).slice(before)).toEqual(['alice'])
    expect(front.lines).toContainEqual(
      expect.objectContaining({
        level: 'warning',
        msg: "clients' tokens are shown to the server behind",
      }),
    )
  })

  it('reaches it from a password, too', async () => {
    const front = await startFront(
      { token: 'forward' },
      {
        hba: `hostssl all all 127.0.0.1/32 oauth issuer=${whole().issuer.issuer} scope=db token_in_password=1`,
      },
    )
    const { require_auth: _, ...conninfo } = whole().conninfo('alice', {
      port: String(front.port),
    })
    const { connection, error } = await libpq().login({
      conninfo: { ...conninfo, password: await mint() },
      token: null,
    })
    expect(error).toBe('')
    await connection?.close()
  })

  it('does not reach it without the settings, and nothing else does', async () => {
    const front = await startFront(undefined)
    const before = whole().proxy.lines.length
    const { error } = await logIn(front, await mint())
    expect(error).toContain('could not log in to the database server')
    expect(await front.logged(({ code }) => code === 'ERR_UPSTREAM')).toMatchObject({
      reason: 'no_credential',
    })
    expect(
      whole()
        .proxy.lines.slice(before)
        .map(({ msg }) => msg),
    ).not.toContainEqual(expect.stringContaining('authenticat'))
  })

  it('is refused behind in the words of the server behind', async () => {
    const behind = await startBehind(jwt('https://other.example'))
    const front = await startFront({ token: 'forward' }, { behind })
    const { error, connection } = await logIn(front, await mint())
    expect(connection).toBeUndefined()
    expect(error).toContain(`FATAL:  ${refused}`)
    expect(await behind.logged(({ msg }) => msg === refused)).toMatchObject({
      reason: 'wrong_audience',
    })
    expect(await front.logged(({ code }) => code === 'ERR_UPSTREAM_REFUSED')).toMatchObject({
      msg: refused,
    })
  })

  it('is not there for a client that was let in without one', async () => {
    const front = await startFront(
      { token: 'forward' },
      { hba: 'hostssl all all 127.0.0.1/32 trust' },
    )
    const { require_auth: _, ...conninfo } = whole().conninfo('alice', {
      port: String(front.port),
    })
    const { error } = await libpq().login({ conninfo, token: null })
    expect(error).toContain('could not log in to the database server')
    expect(await front.logged(({ code }) => code === 'ERR_UPSTREAM')).toMatchObject({
      reason: 'token_unavailable',
      detail: expect.stringContaining('the client has logged in without a token') as string,
    })
  })

  it('stays here where the server behind wants a password, which users_file has', async () => {
    const front = await startFront(
      { token: 'forward' },
      {
        files: { 'users.toml': '[alice]\npassword = "alice-password"' },
        upstream: {
          host: whole().postgres.host,
          port: whole().postgres.port,
          sslmode: 'disable',
          users_file: 'users.toml',
        },
      },
    )
    expect(await whoAmI(front, await mint())).toBe('alice')
  })

  it('stays here where nobody vouches for the certificate of the server behind', async () => {
    const front = await startFront(
      { token: 'forward' },
      { upstream: { sslrootcert: whole().certificates.files.strangeCa } },
    )
    const before = whole().proxy.lines.length
    const { error } = await logIn(front, await mint())
    expect(error).toContain('could not connect to the database server')
    expect(identities({ lines: whole().proxy.lines.slice(before) })).toEqual([])
  })
})

describe('a token of the proxy’s own', () => {
  it('comes from client credentials, once, and serves many logins of a role', async () => {
    const { certificates } = whole()
    const issuer = await startAuthorizationServer({
      tls: { ...certificates.server, ca: certificates.authority.cert },
    })
    onTestFinished(() => issuer.stop())
    const behind = await startBehind({
      hba: `hostssl all all 127.0.0.1/32 oauth issuer=${issuer.issuer} scope=db map=proxies`,
      ident: `proxies ${issuer.serviceClient.id} alice\nproxies ${issuer.serviceClient.id} bob`,
      ...jwt(issuer.audience),
    })
    const front = await startFront(
      {
        token: 'provider',
        source: {
          environment: 'client-credentials',
          issuer: issuer.issuer,
          client_id: issuer.serviceClient.id,
          client_secret: { file: 'issuer-secret' },
          scope: 'db',
          ca: certificates.files.ca,
        },
      },
      { behind, files: { 'issuer-secret': issuer.serviceClient.secret } },
    )
    for (let login = 0; login < 3; login += 1) {
      expect(await whoAmI(front, await mint())).toBe('alice')
    }
    expect(issuer.requests.filter((request) => request === 'POST /token')).toHaveLength(1)
    expect(await whoAmI(front, await mint({ sub: 'bob' }), 'bob')).toBe('bob')
    expect(issuer.requests.filter((request) => request === 'POST /token')).toHaveLength(2)
    expect(identities(front)).toEqual(['alice', 'alice', 'alice', 'bob'])
    expect(new Set(identities(behind))).toEqual(new Set([issuer.serviceClient.id]))
    expect(front.logText()).not.toContain(issuer.serviceClient.secret)
  })

  it('is forgotten when the server behind refuses it', async () => {
    const tokens = [await mint({ exp: 1000 }), await mint({ sub: 'alice', jti: 'second' })]
    let asked = 0
    const issuer = await scriptedIssuer(
      {
        '/token': () => tokenAnswer(tokens[asked++] ?? tokens[1]!, { expires_in: 3600 }),
      },
      { tls: whole().certificates.server },
    )
    onTestFinished(() => issuer[Symbol.asyncDispose]())
    const front = await startFront({
      token: 'provider',
      source: {
        environment: 'client-credentials',
        issuer: issuer.issuer,
        client_id: 'pgbearer',
        client_secret: { file: 'issuer-secret' },
        ca: whole().certificates.files.ca,
      },
    })
    // The first was new when it was refused: to ask at once for another would be no use.
    expect((await logIn(front, await mint())).error).toContain(refused)
    expect(await whoAmI(front, await mint())).toBe('alice')
    expect(asked).toBe(2)
  })

  it.each([
    ['refuses', { status: 401, json: { error: 'invalid_client' } } as const],
    ['answers nonsense', { status: 200, headers: {}, body: 'no' } as const],
    ['gives no bearer token', { json: { access_token: 'abc', token_type: 'mac' } } as const],
  ])('is missing where the issuer %s, and the client learns no more', async (_how, answer) => {
    const issuer = await scriptedIssuer(
      { '/token': () => answer },
      { tls: whole().certificates.server },
    )
    onTestFinished(() => issuer[Symbol.asyncDispose]())
    const front = await startFront({
      token: 'provider',
      source: {
        environment: 'client-credentials',
        issuer: issuer.issuer,
        client_id: 'pgbearer',
        client_secret: { file: 'issuer-secret' },
        ca: whole().certificates.files.ca,
      },
    })
    const { error } = await logIn(front, await mint())
    expect(error).toContain('FATAL:  could not log in to the database server')
    expect(error).not.toMatch(/issuer|OAuth|http|exchange-secret/)
    expect(await front.logged(({ code }) => code === 'ERR_UPSTREAM')).toMatchObject({
      reason: 'token_unavailable',
    })
    expect(front.logText()).not.toContain('exchange-secret')
  })
})

describe('a token for the client’s', () => {
  const AUDIENCE = 'https://behind.example'

  async function startExchange(answer: (subjectToken: string) => Promise<string>) {
    const exchanged = new Map<string, string>()
    const issuer = await scriptedIssuer(
      {
        '/token': ({ form }) => {
          const token = exchanged.get(form['subject_token'] ?? '')
          return token === undefined
            ? { status: 400, json: { error: 'invalid_request' } }
            : tokenAnswer(token, {
                issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
                expires_in: 300,
              })
        },
      },
      { tls: whole().certificates.server },
    )
    onTestFinished(() => issuer[Symbol.asyncDispose]())
    const behind = await startBehind(jwt(AUDIENCE))
    const front = await startFront(
      {
        token: 'exchange',
        source: {
          issuer: issuer.issuer,
          client_id: 'pgbearer',
          client_secret: { file: 'issuer-secret' },
          audience: AUDIENCE,
          scope: 'db',
          ca: whole().certificates.files.ca,
        },
      },
      { behind },
    )
    const clientToken = async (claims = {}) => {
      const token = await mint(claims)
      exchanged.set(token, await answer(token))
      return token
    }
    return { issuer, behind, front, clientToken }
  }

  it('is exchanged at each login, and the server behind never sees the client’s', async () => {
    const { issuer, behind, front, clientToken } = await startExchange(() =>
      mint({ aud: AUDIENCE, client_id: 'pgbearer' }),
    )
    const token = await clientToken()
    expect(await whoAmI(front, token)).toBe('alice')
    expect(await whoAmI(front, token)).toBe('alice')
    expect(identities(behind)).toEqual(['alice', 'alice'])
    const asked = issuer.at('/token')
    expect(asked).toHaveLength(2)
    expect(asked[0]?.form).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience: AUDIENCE,
      scope: 'db',
    })
  })

  it('is another for another client', async () => {
    const { behind, front, clientToken } = await startExchange(async (token) => {
      const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
      return mint({ sub: claims.sub, aud: AUDIENCE })
    })
    const [ofAlice, ofBob] = [await clientToken(), await clientToken({ sub: 'bob' })]
    expect(await whoAmI(front, ofAlice)).toBe('alice')
    expect(await whoAmI(front, ofBob, 'bob')).toBe('bob')
    expect(identities(behind)).toEqual(['alice', 'bob'])
  })

  it('for another subject does not let the client in behind', async () => {
    const { front, clientToken } = await startExchange(() => mint({ sub: 'bob', aud: AUDIENCE }))
    expect((await logIn(front, await clientToken())).error).toContain(refused)
  })

  it('that is the client’s own goes nowhere: that would be forwarding', async () => {
    const { behind, front, clientToken } = await startExchange(async (token) => token)
    expect((await logIn(front, await clientToken())).error).toContain(
      'could not log in to the database server',
    )
    expect(await front.logged(({ code }) => code === 'ERR_UPSTREAM')).toMatchObject({
      reason: 'token_unavailable',
      detail: expect.stringContaining("gave the client's own token back") as string,
    })
    expect(behind.lines.map(({ msg }) => msg)).not.toContain(refused)
  })

  it('is not to be had for a token that the issuer does not know', async () => {
    const { issuer, front } = await startExchange(() => mint())
    const { error } = await logIn(front, await mint({ jti: 'unknown' }))
    expect(error).toContain('could not log in to the database server')
    expect(issuer.at('/token')).toHaveLength(1)
  })

  it('is not asked for when the client’s token is no good here', async () => {
    const { issuer, front, clientToken } = await startExchange(() => mint({ aud: AUDIENCE }))
    expect((await logIn(front, await clientToken({ exp: 1000 }))).error).toContain(refused)
    expect(issuer.seen).toEqual([])
  })
})

describe('settings by which no token could be sent', () => {
  it.each<[string, Upstream, RegExp]>([
    ['no TLS', { host: '10.0.0.5', sslmode: 'disable' }, /a token is sent only with sslmode/],
    ['unverified TLS', { host: 'db.example', sslmode: 'require' }, /sslmode is "require"/],
    ['require_auth', { require_auth: ['scram-sha-256'] }, /require_auth does not list "oauth"/],
    ['a missing secret', { oauth: exchangeWith({ file: 'missing' }) }, /ENOENT/],
    ['an unset variable', { oauth: exchangeWith({ env: 'PGBEARER_NO_SUCH' }) }, /is not set/],
  ])('do not start: %s', async (_what, upstream, message) => {
    await expect(startFront({ token: 'forward' }, { upstream })).rejects.toThrow(message)
  })

  function exchangeWith(client_secret: { file: string } | { env: string }): OAuth {
    const issuer = 'https://login.example'
    return { token: 'exchange', source: { issuer, client_id: 'x', client_secret } }
  }
})

describe('a reload', () => {
  it('ends forwarding for the logins that come after it', async () => {
    const oauth: Record<string, unknown> = { token: 'forward' }
    const front = await startFront(oauth as OAuth)
    expect(await whoAmI(front, await mint())).toBe('alice')
    process.env['PGBEARER_TEST_UPSTREAM_TOKEN'] = await mint({ exp: 1000 })
    onTestFinished(() => {
      delete process.env['PGBEARER_TEST_UPSTREAM_TOKEN']
    })
    oauth['token'] = 'provider'
    oauth['source'] = { environment: 'env', variable: 'PGBEARER_TEST_UPSTREAM_TOKEN' }
    await front.server.reload()
    expect((await logIn(front, await mint())).error).toContain(refused)
    expect(front.lines.filter(({ level }) => level === 'warning')).toHaveLength(1)
  })
})
