import http from 'node:http'
import net from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  type AuthorizationCodeOptions,
  OAuthGrantError,
  TokenConfigError,
  TokenProvider,
  browserCommand,
  sources,
  tokenRequest,
} from '../../../src/client/index.ts'
import { listenForRedirect } from '../../../src/client/sources/redirect-server.ts'
import { createCertificateAuthority } from '../../../src/demo/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  type Answer,
  type ScriptedIssuer,
  refusal,
  scriptedIssuer,
  tokenAnswer,
} from '../support/scripted-issuer.ts'

interface Page {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

/** One request, no redirect followed, nothing kept open. */
function visit(url: string, options: http.RequestOptions = {}, body?: string): Promise<Page> {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { agent: false, ...options }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
      )
    })
    request.on('error', reject)
    request.end(body)
  })
}

interface Authorization {
  readonly url: URL
  readonly redirectUri: string
  readonly state: string
  readonly pages: Page[]
}

/** A browser whose person does `act` at the authorization server. */
const browser =
  (act: (at: Authorization) => Promise<void>) =>
  async (startUrl: string): Promise<void> => {
    const start = await visit(startUrl)
    const url = new URL(start.headers.location!)
    const parameter = (name: string): string => url.searchParams.get(name) ?? ''
    const redirectUri = parameter('redirect_uri')
    void act({ url, redirectUri, state: parameter('state'), pages: [start] })
  }

const agrees = (more = ''): ReturnType<typeof browser> =>
  browser(async ({ redirectUri, state }) => {
    await visit(`${redirectUri}?code=the-code&state=${state}${more}`)
  })

const idToken = (claims: object): string =>
  `${Buffer.from('{"alg":"RS256"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`

/** A server whose token endpoint knows the nonce of the login. */
function issuerWith(
  answer: (n: number) => object = () => ({}),
): Promise<ScriptedIssuer & { nonce?: string }> {
  const box: { server?: ScriptedIssuer & { nonce?: string } } = {}
  return scriptedIssuer({
    '/token': (_seen, n) => {
      const now = Math.floor(Date.now() / 1000)
      const nonce = box.server?.nonce
      const claims = { iss: box.server?.issuer, aud: 'cli', sub: 'ann', iat: now, exp: now + 60 }
      return tokenAnswer(`t${n}`, { id_token: idToken({ ...claims, nonce }), ...answer(n) })
    },
  }).then((server) => {
    box.server = server
    return server
  })
}

const remembering =
  (server: object, open: ReturnType<typeof browser>) =>
  async (startUrl: string): Promise<void> => {
    const { headers } = await visit(startUrl)
    const nonce = new URL(headers.location!).searchParams.get('nonce')
    Object.assign(server, { nonce: nonce ?? undefined })
    await open(startUrl)
  }

function source(server: ScriptedIssuer, options: Partial<AuthorizationCodeOptions> = {}) {
  return sources.authorizationCode({
    issuer: server.issuer,
    clientId: 'cli',
    allowInsecureIssuer: true,
    openBrowser: remembering(server, agrees()),
    ...options,
  })
}

type Fields = Parameters<typeof tokenRequest>[0]
const call = async (
  server: ScriptedIssuer,
  options: Partial<AuthorizationCodeOptions> = {},
  fields: Fields = {},
) => source(server, options).fn(tokenRequest({ ...fields, context: undefined }))
const thrownBy = async (...args: Parameters<typeof call>): Promise<unknown> =>
  call(...args).then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => error,
  )

describe('a login in the browser', () => {
  it('K1: works with a nonce and without', async () => {
    await using server = await issuerWith()
    expect((await call(server)).accessToken).toBe('t1')
    expect(server.nonce).toBeDefined()
    expect((await call(server, { nonce: false })).accessToken).toBe('t2')
    expect(server.nonce).toBeUndefined()
    const wrong = async (startUrl: string): Promise<void> => {
      Object.assign(server, { nonce: 'another' })
      await agrees()(startUrl)
    }
    expect(await thrownBy(server, { openBrowser: wrong })).toBeInstanceOf(OAuthGrantError)
    await using silent = await issuerWith(() => ({ id_token: undefined }))
    expect(await thrownBy(silent)).toBeInstanceOf(OAuthGrantError)
  })

  it('K1: proves the code with PKCE', async () => {
    await using server = await issuerWith()
    let challenge = ''
    await call(server, {
      openBrowser: remembering(
        server,
        browser(async ({ url, redirectUri, state }) => {
          challenge = url.searchParams.get('code_challenge') ?? ''
          expect(Object.fromEntries(url.searchParams)).toMatchObject({
            response_type: 'code',
            client_id: 'cli',
            code_challenge_method: 'S256',
          })
          await visit(`${redirectUri}?code=the-code&state=${state}`)
        }),
      ),
    })
    const { form } = server.at('/token')[0]!
    const digest = await crypto.subtle.digest('SHA-256', Buffer.from(form['code_verifier']!))
    expect(challenge).toBe(Buffer.from(digest).toString('base64url'))
    expect(form).toMatchObject({ grant_type: 'authorization_code', code: 'the-code' })
    expect(form['redirect_uri']).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback$/)
  })

  it('K2, K22: a token that is good is used again, and parallel needs make one login', async () => {
    await using server = await issuerWith(() => ({ expires_in: 3600 }))
    const provider = new TokenProvider(source(server))
    const got = await Promise.all(Array.from({ length: 20 }, () => provider.get()))
    expect(new Set(got.map((one) => one.credential.accessToken))).toEqual(new Set(['t1']))
    expect((await provider.get()).fromCache).toBe(true)
    expect(server.at('/token')).toHaveLength(1)
  })

  it('K3: sends the ID token only on request', async () => {
    await using server = await issuerWith()
    const { accessToken } = await call(server, { useIdToken: true })
    expect(accessToken.split('.')).toHaveLength(3)
    await using without = await issuerWith(() => ({ id_token: undefined }))
    const error = await thrownBy(without, { useIdToken: true, nonce: false })
    expect((error as Error).message).toBe('the authorization server sent no ID token')
  })

  it('K4, K5, K28: renews with the refresh token, and logs in anew when that is outdated', async () => {
    await using server = await issuerWith((n) => ({ expires_in: 100, refresh_token: `r${n}` }))
    const clock = new FakeClock()
    const provider = new TokenProvider(source(server), { clock })
    await provider.get()
    await clock.advance(95_000)
    expect((await provider.get()).credential.accessToken).toBe('t2')
    expect(server.at('/token')[1]!.form).toMatchObject({
      grant_type: 'refresh_token',
      refresh_token: 'r1',
    })
    provider.invalidate('t2')
    await clock.advance(100)
    expect((await provider.get()).credential.accessToken).toBe('t3')
    await using refusing = await scriptedIssuer({
      '/token': ({ form }) =>
        form['grant_type'] === 'refresh_token' ? refusal('invalid_grant') : tokenAnswer('fresh'),
    })
    const options = { nonce: false, scope: 'db' }
    const got = await call(refusing, options, { refreshToken: 'old', reason: 'rejected' })
    expect(got.accessToken).toBe('fresh')
  })

  it('K6: another user, issuer or scope is another set of tokens', async () => {
    await using server = await issuerWith()
    const clock = new FakeClock()
    const provider = new TokenProvider(source(server), { clock })
    for (const [need, expected] of [
      [{ username: 'a' }, 't1'],
      [{ username: 'b' }, 't2'],
      [{ username: 'a', scope: 's' }, 't3'],
      [{ username: 'a' }, 't1'],
    ] as const) {
      const got = provider.get(need)
      await clock.advance(100)
      expect((await got).credential.accessToken).toBe(expected)
    }
  })

  it('K7, K19: an abort ends it and starts nothing else', async () => {
    await using server = await issuerWith()
    for (const openBrowser of [async () => {}, browser(async () => {})]) {
      const signal = AbortSignal.timeout(100)
      const error = await thrownBy(server, { openBrowser }, { signal })
      expect(error).toBe(signal.reason)
    }
    expect(server.at('/device')).toHaveLength(0)
    expect(server.at('/token')).toHaveLength(0)
  })

  it('K8, K23: needs endpoints, over https', async () => {
    await using none = await scriptedIssuer(
      {},
      { metadata: () => ({ authorization_endpoint: undefined }) },
    )
    expect(String(await thrownBy(none))).toContain('issuer has no authorization_endpoint')
    const authority = await createCertificateAuthority()
    for (const endpoint of ['http://127.0.0.1:1/x', 'javascript:alert(1)', 'file:///etc/passwd']) {
      await using secured = await scriptedIssuer(
        {},
        {
          tls: await authority.issue(),
          metadata: () => ({ authorization_endpoint: endpoint }),
        },
      )
      const options = { ca: authority.cert, allowInsecureIssuer: false }
      expect(String(await thrownBy(secured, options))).toContain('must use HTTPS')
    }
  })

  it('K18: a browser that cannot be run, fails or never comes is an error', async () => {
    await using server = await issuerWith()
    const missing = browserCommand(['/nonexistent/browser'])
    expect(String(await thrownBy(server, { openBrowser: missing }))).toContain('ENOENT')
    const failing = browserCommand([process.execPath, '-e', 'process.exit(4)'])
    expect(String(await thrownBy(server, { openBrowser: failing }))).toContain('exited with code 4')
    const never = await thrownBy(server, { openBrowser: async () => {}, openTimeoutMs: 50 })
    expect(String(never)).toContain('did not open the login page within 50 ms')
  })

  it('K18: a browser program is given a local URL and nothing of the login', async () => {
    await using server = await issuerWith()
    let opened = ''
    const openBrowser = async (url: string, _signal: AbortSignal): Promise<void> => {
      opened = url
      await remembering(server, agrees())(url)
    }
    await call(server, { openBrowser })
    expect(opened).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]{32}$/)
  })

  it.each<[string, object | undefined, string | undefined, string[]]>([
    ['default', undefined, undefined, ['openid', 'offline_access']],
    ['the server’s, too', undefined, 'db', ['db', 'openid', 'offline_access']],
    ['reduced', { scopes_supported: ['db', 'openid'] }, 'db other', ['db', 'openid']],
  ])('K21: scopes: %s', async (_what, metadata, scope, expected) => {
    await using server = await scriptedIssuer(
      { '/token': () => tokenAnswer('t') },
      { metadata: () => ({ ...metadata }) },
    )
    let asked: string | null = null
    const openBrowser = browser(async ({ url, redirectUri, state }) => {
      asked = url.searchParams.get('scope')
      await visit(`${redirectUri}?code=c&state=${state}`)
    })
    await call(server, { openBrowser, nonce: false }, { scope })
    expect(asked).toBe(expected.join(' '))
  })

  it('K21: scopes: replaced', async () => {
    await using server = await scriptedIssuer(
      { '/token': () => tokenAnswer('t') },
      { metadata: () => ({ scopes_supported: ['x'] }) },
    )
    const asked: (string | null)[] = []
    const openBrowser = browser(async ({ url, redirectUri, state }) => {
      asked.push(url.searchParams.get('scope'))
      await visit(`${redirectUri}?code=c&state=${state}`)
    })
    await call(server, { openBrowser, scope: 'mine only' }, { scope: 'theirs' })
    await call(server, { openBrowser, scope: '' }, { scope: 'theirs' })
    expect(asked).toEqual(['mine only', null])
  })

  it('K24: finds the server by either kind of metadata', async () => {
    const path = '/.well-known/oauth-authorization-server'
    const box = { issuer: '' }
    await using server = await scriptedIssuer({
      [path]: () => ({
        json: {
          issuer: box.issuer,
          token_endpoint: `${box.issuer}/token`,
          authorization_endpoint: `${box.issuer}/authorize`,
        },
      }),
      '/token': () => tokenAnswer('t'),
    })
    box.issuer = server.issuer
    const options = { issuer: `${server.issuer}${path}`, nonce: false, openBrowser: agrees() }
    expect((await call(server, options)).accessToken).toBe('t')
    expect(server.at('/.well-known/openid-configuration')).toHaveLength(0)
  })

  it('K20: a token endpoint that is down asks nobody', async () => {
    await using server = await scriptedIssuer({ '/token': (): Answer => 'drop' })
    let opened = 0
    const openBrowser = async (): Promise<void> => {
      opened += 1
    }
    const error = await thrownBy(server, { openBrowser }, { refreshToken: 'r' })
    expect(error).toMatchObject({ code: 'ERR_OAUTH_CONNECTION' })
    expect(opened).toBe(0)
  })

  it('K15: an answer of another issuer is refused', async () => {
    await using server = await issuerWith()
    const openBrowser = remembering(server, agrees('&iss=https%3A%2F%2Fevil.example'))
    expect(await thrownBy(server, { openBrowser })).toBeInstanceOf(OAuthGrantError)
    const right = remembering(server, agrees(`&iss=${encodeURIComponent(server.issuer)}`))
    expect((await call(server, { openBrowser: right })).accessToken).toBe('t1')
    await using demands = await scriptedIssuer(
      {},
      { metadata: () => ({ authorization_response_iss_parameter_supported: true }) },
    )
    expect(await thrownBy(demands, { openBrowser: agrees() })).toBeInstanceOf(OAuthGrantError)
  })

  it('K14: a refusal is passed on with only the characters it may have', async () => {
    await using server = await issuerWith()
    const pages: Page[] = []
    const openBrowser = browser(async ({ redirectUri, state }) => {
      const description = encodeURIComponent('no <b>"way"\u0007\\ü</b>')
      pages.push(
        await visit(
          `${redirectUri}?error=access_denied&error_description=${description}&state=${state}`,
        ),
      )
    })
    const error = await thrownBy(server, { openBrowser })
    expect(error).toMatchObject({ error: 'access_denied' })
    expect((error as Error).message).toBe('the login was refused: no <b>way</b> (access_denied)')
    await expect.poll(() => pages.length).toBe(1)
    expect(pages[0]!.body).toContain('no &#60;b&#62;way&#60;/b&#62;')
    expect(pages[0]!.body).not.toContain('<b>')
  })
})

describe('the redirect server', () => {
  const open = async (redirectUri = 'http://127.0.0.1:0/callback') => {
    const server = await listenForRedirect(redirectUri)
    server.expect('https://as.example/authorize?x=1', { state: 'right', validate: (p) => p })
    return server
  }

  it('K11: takes GET and a POSTed form, and no other method', async () => {
    const get = await open()
    expect((await visit(`${get.redirectUri}?state=right&code=c`)).status).toBe(303)
    expect((await get.answered).get('code')).toBe('c')
    await get.close()
    const post = await open()
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const options = { method: 'POST', headers }
    expect((await visit(post.redirectUri, options, 'state=right&code=c')).status).toBe(303)
    expect((await post.answered).get('code')).toBe('c')
    await post.close()
    const other = await open()
    for (const method of ['PUT', 'DELETE', 'HEAD', 'OPTIONS']) {
      expect((await visit(`${other.redirectUri}?state=right&code=c`, { method })).status).toBe(405)
    }
    const json = { method: 'POST', headers: { 'content-type': 'application/json' } }
    expect((await visit(other.redirectUri, json, '{}')).status).toBe(405)
    const large = `state=right&code=${'x'.repeat(70_000)}`
    expect((await visit(other.redirectUri, options, large)).status).toBe(405)
    await other.close()
  })

  it('K12: knows no other path', async () => {
    const server = await open()
    for (const path of ['/', '/callback/', '/favicon.ico', '/0123456789abcdef']) {
      expect((await visit(new URL(path, server.redirectUri).href)).status).toBe(404)
    }
    await server.close()
  })

  it('K13: refuses an answer without the state of this login', async () => {
    const server = await open()
    for (const query of ['', '?code=c', '?code=c&state=', '?code=c&state=wrong', '?state=Right']) {
      expect((await visit(`${server.redirectUri}${query}`)).status).toBe(403)
    }
    expect((await visit(`${server.redirectUri}?state=right&code=c`)).status).toBe(303)
    await server.close()
  })

  it('K16: takes one answer', async () => {
    const server = await open()
    expect((await visit(`${server.redirectUri}?state=right&code=one`)).status).toBe(303)
    expect((await visit(`${server.redirectUri}?state=right&code=two`)).status).toBe(403)
    expect((await server.answered).get('code')).toBe('one')
    await server.close()
  })

  it('K17: closes at once although browsers keep connections open', async () => {
    const server = await open()
    const socket = net.connect(Number(new URL(server.redirectUri).port), '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    socket.write('GET /callback HTTP/1.1\r\nHost: x\r\n')
    const gone = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => {})
    await server.close()
    await gone
  })

  it('K26: sends pages that load nothing, are not kept and tell nobody where they came from', async () => {
    const server = await open()
    const pages = [
      await visit(server.startUrl),
      await visit(`${server.redirectUri}?state=wrong`),
      await visit(`${server.redirectUri}?state=right&code=c`),
      await visit(new URL('/none', server.redirectUri).href),
    ]
    for (const { headers } of pages) {
      expect(headers).toMatchObject({
        'content-security-policy': "default-src 'self'",
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
      })
    }
    expect(pages[0]!.headers.location).toBe('https://as.example/authorize?x=1')
    expect(pages[0]!.status).toBe(307)
    await server.close()
  })

  it('K27: leaves a clean address in the browser', async () => {
    const server = await open()
    const { headers } = await visit(`${server.redirectUri}?state=right&code=c`)
    expect(headers.location).toMatch(/^\/[0-9a-f]{32}\/done$/)
    const done = await visit(new URL(headers.location!, server.redirectUri).href)
    expect(done.status).toBe(200)
    expect(done.body).toContain('Logged in')
    await server.close()
  })

  it('K10: listens on the address that is named and on no other', async () => {
    const refused = async (port: string, host: string): Promise<boolean> =>
      new Promise((resolve) => {
        const socket = net.connect(Number(port), host)
        socket.once('connect', () => {
          socket.destroy()
          resolve(false)
        })
        socket.once('error', () => resolve(true))
      })
    const four = await open('http://127.0.0.1:0/callback')
    expect(await refused(new URL(four.redirectUri).port, '127.0.0.1')).toBe(false)
    expect(await refused(new URL(four.redirectUri).port, '::1')).toBe(true)
    expect(await refused(new URL(four.redirectUri).port, '127.0.0.2')).toBe(true)
    await four.close()
    const six = await open('http://[::1]:0/callback')
    expect(await refused(new URL(six.redirectUri).port, '::1')).toBe(false)
    expect(await refused(new URL(six.redirectUri).port, '127.0.0.1')).toBe(true)
    await six.close()
    const named = await open('http://localhost:0/callback')
    expect((await visit(`${named.redirectUri}?state=right`)).status).toBe(303)
    await named.close()
  })

  it('K9: refuses a redirect URI that is not a place on this machine', async () => {
    for (const uri of [
      'https://127.0.0.1:0/callback',
      'http://127.0.0.1:0/',
      'http://127.0.0.1:0/callback?x',
      'http://127.0.0.1:0/callback#x',
      'http://u@127.0.0.1:0/callback',
      'http://0.0.0.0:0/callback',
      'http://192.0.2.1:0/callback',
      'http://name.invalid:0/callback',
      'nonsense',
    ]) {
      await expect(listenForRedirect(uri)).rejects.toBeInstanceOf(TokenConfigError)
    }
  })

  it('K9: refuses a port that is taken', async () => {
    const first = await open()
    await expect(listenForRedirect(first.redirectUri)).rejects.toThrow('EADDRINUSE')
    await first.close()
  })
})
