/** `http.proxy`: providers are reached through a proxy, which learns nothing and decides as little as possible. */
import type { LookupAddress, lookup } from 'node:dns'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect, isIP, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createCertificateAuthority } from '../../src/demo/certificates.ts'
import jwt from '../../validators/jwt.ts'
import type { HttpPolicy } from '../../validators/lib/http/policy.ts'
import { send } from '../../validators/lib/http/request.ts'
import { createHttpPolicy, httpSettings } from '../../validators/lib/http/settings.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { testCertificates } from './support/certificates.ts'
import { expectNoPartOf, SETTINGS } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'

/** A proxy that takes every name to this machine, and writes down what passes. */
class Proxy implements AsyncDisposable {
  readonly targets: string[] = []
  readonly authorizations: (string | undefined)[] = []
  /** All that went through, both ways. */
  readonly seen: Buffer[] = []
  /** Instead of connecting. */
  answer: ((socket: Socket) => void) | undefined
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket: Socket) => this.#keep(socket))
    server.on('connect', (request: IncomingMessage, socket: Socket) => {
      this.#connect(request, socket)
    })
  }

  static async start(): Promise<Proxy> {
    const server = createServer((_request, response) => {
      response.writeHead(405).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Proxy(server)
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) {
      socket.destroy()
    }
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #connect(request: IncomingMessage, socket: Socket): void {
    this.targets.push(request.url ?? '')
    this.authorizations.push(request.headers['proxy-authorization'])
    if (this.answer !== undefined) {
      this.answer(socket)
      return
    }
    const port = Number(/:(\d+)$/.exec(request.url ?? '')?.[1])
    const behind = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(behind).pipe(socket)
    })
    this.#keep(behind)
    for (const side of [socket, behind]) {
      side.on('data', (bytes: Buffer) => this.seen.push(bytes))
      side.once('close', () => {
        socket.destroy()
        behind.destroy()
      })
    }
  }
}

/** The issuer by a name that nobody but the proxy knows. */
function named(server: AuthorizationServer): string {
  const issuer = server.issuer.replace('127.0.0.1', 'login.test')
  server.metadata = { issuer, jwks_uri: `${issuer}/jwks` }
  return issuer
}

const start = (
  issuer: string,
  proxy: Record<string, unknown>,
  http: Record<string, unknown> = {},
  files: Record<string, string> = {},
): Promise<Runner> =>
  startValidator({
    init: jwt,
    settings: { ...SETTINGS, prefetch: 'off', http: { ca: 'ca.pem', proxy, ...http } },
    issuers: [issuer],
    files,
  })

/** Settings for what only a resolver of ours can show. */
async function policyWith(
  proxy: Proxy,
  addresses: readonly string[],
  egress: 'public' | 'private' | 'any',
): Promise<HttpPolicy> {
  const settings = httpSettings.parse({ egress, proxy: { url: proxy.url } })
  const policy = await createHttpPolicy(settings, [], '/')
  const { ca } = await testCertificates()
  const resolve = ((
    _host: string,
    _options: unknown,
    callback: (error: null, found: LookupAddress[]) => void,
  ) => {
    callback(
      null,
      addresses.map((address) => ({ address, family: isIP(address) })),
    )
  }) as unknown as typeof lookup
  return { ...policy, proxy: { ...policy.proxy!, resolve }, tls: { ...policy.tls, ca } }
}

const get = (url: string, policy: HttpPolicy, signal = new AbortController().signal) =>
  send({ url: new URL(url), maxBytes: 65_536, signal }, policy)

const before = { ...process.env }
afterEach(() => {
  process.env = { ...before }
})

describe('a proxy', () => {
  it('takes us to a provider by a name that only it knows, where that is allowed', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    const issuer = named(server)
    const settings = { url: proxy.url, allow_remote_names: true }
    await using runner = await start(issuer, settings)
    expect(await runner.run(server.token({ iss: issuer }))).toMatchObject({ authorized: true })
    expect(proxy.targets).toEqual([`login.test:${server.port}`, `login.test:${server.port}`])
    expect(runner.lines.join('\n')).toContain('http.proxy.allow_remote_names = true')
  })

  it('is told the address otherwise, which was judged here', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    const policy = await policyWith(proxy, ['8.8.8.8', '8.8.4.4'], 'public')
    const { status } = await get(`https://login.test:${server.port}/jwks`, policy)
    expect(status).toBe(200)
    expect(proxy.targets).toEqual([`8.8.8.8:${server.port}`])
  })

  it('is told an address of version 6 in brackets, and the port of https', async () => {
    await using proxy = await Proxy.start()
    proxy.answer = (socket) => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
    const policy = await policyWith(proxy, ['2606:4700::1111'], 'public')
    await expect(get('https://login.test/jwks', policy)).rejects.toThrow('status 502')
    expect(proxy.targets).toEqual(['[2606:4700::1111]:443'])
  })

  it('is not asked for an address that is not allowed', async () => {
    await using proxy = await Proxy.start()
    for (const addresses of [
      ['169.254.169.254'],
      ['10.0.0.1'],
      ['127.0.0.1'],
      ['8.8.8.8', '127.0.0.1'],
      ['::1'],
      [],
    ]) {
      const policy = await policyWith(proxy, addresses, 'public')
      await expect(get('https://login.test/jwks', policy)).rejects.toThrow('http.egress')
    }
    const policy = await policyWith(proxy, ['8.8.8.8'], 'public')
    await expect(get('https://169.254.169.254/jwks', policy)).rejects.toThrow('http.egress')
    await expect(get('https://[fd00:ec2::254]/jwks', policy)).rejects.toThrow('http.egress')
    expect(proxy.targets).toEqual([])
  })

  it('sees no token of ours and no answer', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    const issuer = named(server)
    const ours = 'the-token-of-our-service-account'
    await using runner = await start(
      issuer,
      { url: proxy.url, allow_remote_names: true },
      { bearer_token_file: 'token' },
      { token: ours },
    )
    expect(await runner.run(server.token({ iss: issuer }))).toMatchObject({ authorized: true })
    const seen = Buffer.concat(proxy.seen).toString('latin1')
    expect(seen.length).toBeGreaterThan(1_000)
    expectNoPartOf(ours, [seen, ...proxy.targets])
    expect(seen).not.toContain('jwks')
  })

  it('cannot send us to somebody else', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    const issuer = named(server).replace('login.test', 'login.example')
    server.metadata = { issuer, jwks_uri: `${issuer}/jwks` }
    const settings = { url: proxy.url, allow_remote_names: true }
    await using runner = await start(issuer, settings)
    await expect(runner.run(server.token({ iss: issuer }))).rejects.toMatchObject({
      code: 'provider_unavailable',
    })
    const { cert } = await createCertificateAuthority('another CA')
    await using strict = await start(named(server), settings, {}, { 'ca.pem': cert })
    await expect(strict.run(server.token({ iss: named(server) }))).rejects.toMatchObject({
      code: 'provider_unavailable',
    })
    expect(proxy.targets).toHaveLength(2)
    expect(server.total).toBe(0)
  })

  it('takes us to no host that is not allowed', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    const issuer = named(server)
    server.metadata = { issuer, jwks_uri: `https://evil.test:${server.port}/jwks` }
    await using runner = await start(issuer, { url: proxy.url, allow_remote_names: true })
    await expect(runner.run(server.token({ iss: issuer }))).rejects.toMatchObject({
      code: 'provider_bad_response',
    })
    expect(proxy.targets).toEqual([`login.test:${server.port}`])
  })

  it('is left out for this machine', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    for (const host of ['127.0.0.1', 'localhost']) {
      const issuer = server.issuer.replace('127.0.0.1', host)
      server.metadata = { issuer, jwks_uri: `${issuer}/jwks` }
      await using runner = await start(
        issuer,
        { url: proxy.url, allow_remote_names: true },
        { egress: 'any' },
      )
      expect(await runner.run(server.token({ iss: issuer }))).toMatchObject({ authorized: true })
    }
    expect(proxy.targets).toEqual([])
  })

  it('is the one of the settings, whatever the environment says', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    const issuer = named(server)
    for (const name of ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY']) {
      process.env[name] = 'http://127.0.0.1:1'
    }
    process.env['NO_PROXY'] = '*'
    await using runner = await start(issuer, { url: proxy.url, allow_remote_names: true })
    expect(await runner.run(server.token({ iss: issuer }))).toMatchObject({ authorized: true })
    expect(proxy.targets).toHaveLength(2)
  })

  it('does not take the place of the provider because the environment lets it', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    const { cert } = await createCertificateAuthority('another CA')
    for (const [issuer, http] of [
      [named(server), {}],
      [server.issuer, { egress: 'any' }],
    ] as const) {
      server.metadata = { issuer, jwks_uri: `${issuer}/jwks` }
      const settings = { url: proxy.url, allow_remote_names: true }
      await using runner = await start(issuer, settings, http, { 'ca.pem': cert })
      await expect(runner.run(server.token({ iss: issuer }))).rejects.toMatchObject({
        code: 'provider_unavailable',
      })
    }
    expect(proxy.targets).toHaveLength(1)
    expect(server.total).toBe(0)
  })

  it('is told a new password after a reload, although the keys stay', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    const issuer = named(server)
    const settings = {
      url: proxy.url,
      allow_remote_names: true,
      username: 'us',
      password: { file: 'pw' },
    }
    const token = server.token({ iss: issuer })
    await using before = await start(issuer, settings, {}, { pw: 'old' })
    expect(await before.run(token)).toMatchObject({ authorized: true })
    await using after = await start(issuer, settings, {}, { pw: 'new' })
    expect(await after.run(token)).toMatchObject({ authorized: true })
    const basic = (password: string): string =>
      `Basic ${Buffer.from(`us:${password}`).toString('base64')}`
    expect(new Set(proxy.authorizations)).toEqual(new Set([basic('old'), basic('new')]))
    await expect(start(issuer, { ...settings, username: 'u:s' }, {}, { pw: 'x' })).rejects.toThrow(
      'username must not contain a colon',
    )
  })

  it('gets our name and password, and nobody else does', async () => {
    await using server = await AuthorizationServer.start()
    await using proxy = await Proxy.start()
    const issuer = named(server)
    const headers: string[] = []
    server.overrides.set('/jwks', (request, response) => {
      headers.push(...request.rawHeaders)
      response.writeHead(503).end()
    })
    const settings = {
      url: proxy.url,
      allow_remote_names: true,
      username: 'pg',
      password: { file: 'secret' },
    }
    await using runner = await start(issuer, settings, {}, { secret: 'proxy-password\n' })
    await expect(runner.run(server.token({ iss: issuer }))).rejects.toMatchObject({
      code: 'provider_unavailable',
    })
    const basic = `Basic ${Buffer.from('pg:proxy-password').toString('base64')}`
    expect(proxy.authorizations).toEqual([basic, basic])
    expect(headers.length).toBeGreaterThan(0)
    expect(headers.join('\n')).not.toMatch(/proxy/i)
  })
})

describe('a proxy that does not help', () => {
  const rows: readonly (readonly [string, string, (socket: Socket) => void])[] = [
    ['wants a password', 'status 407', (s) => s.end('HTTP/1.1 407 Proxy\r\n\r\n')],
    ['forbids it', 'status 403', (s) => s.end('HTTP/1.1 403 No\r\n\r\n<html>secret page')],
    ['redirects', 'status 302', (s) => s.end('HTTP/1.1 302 Go\r\nlocation: /\r\n\r\n')],
    ['says 201', 'status 201', (s) => s.end('HTTP/1.1 201 Created\r\n\r\n')],
    ['speaks first', 'bytes of its own', (s) => s.write('HTTP/1.1 200 OK\r\n\r\nhello')],
    ['speaks no HTTP', 'Parse Error', (s) => s.end('SSH-2.0-OpenSSH\r\n')],
    ['closes', 'hang up', (s) => s.end()],
    ['breaks off', 'cannot reach', (s) => s.resetAndDestroy()],
    ['closes the tunnel', 'cannot reach', (s) => s.end('HTTP/1.1 200 OK\r\n\r\n')],
    [
      'breaks the tunnel off',
      'cannot reach',
      (s) => s.write('HTTP/1.1 200 OK\r\n\r\n', () => s.once('data', () => s.resetAndDestroy())),
    ],
    [
      'sends endless headers',
      'cannot reach',
      (s) => s.write(`HTTP/1.1 200 OK\r\n${`x: ${'y'.repeat(1_000)}\r\n`.repeat(100)}`),
    ],
    ['says nothing', 'did not connect within', () => undefined],
    ['says nothing in the tunnel', 'did not answer', (s) => s.write('HTTP/1.1 200 OK\r\n\r\n')],
  ]
  for (const [name, problem, answer] of rows) {
    it(`because it ${name} is an outage: ${problem}`, async () => {
      await using server = await AuthorizationServer.start()
      await using proxy = await Proxy.start()
      proxy.answer = answer
      const issuer = named(server)
      const settings = { url: proxy.url, allow_remote_names: true }
      const times = { timeout: '400ms', connect_timeout: '200ms' }
      await using runner = await start(issuer, settings, times)
      const failure: unknown = await runner
        .run(server.token({ iss: issuer }))
        .catch((error: unknown) => error)
      expect(failure).toMatchObject({
        code: expect.stringMatching(/^(provider_unavailable|timeout)$/) as string,
        message: expect.stringContaining(problem) as string,
      })
      expect(String(failure)).not.toContain('secret page')
      expect(server.connections).toBe(0)
    })
  }

  it('because it is not there is an outage', async () => {
    const proxy = await Proxy.start()
    const { url } = proxy
    await proxy[Symbol.asyncDispose]()
    await using server = await AuthorizationServer.start()
    const issuer = named(server)
    await using runner = await start(issuer, { url, allow_remote_names: true })
    await expect(runner.run(server.token({ iss: issuer }))).rejects.toMatchObject({
      code: 'provider_unavailable',
    })
  })

  it('is left when nobody waits any more', async () => {
    await using proxy = await Proxy.start()
    const closed = new Promise<void>((resolve) => {
      proxy.answer = (socket) => socket.resume().once('end', () => resolve())
    })
    const policy = await policyWith(proxy, ['8.8.8.8'], 'public')
    const leaving = new AbortController()
    const question = get('https://login.test/jwks', policy, leaving.signal)
    const failed = expect(question).rejects.toThrow('cannot reach')
    while (proxy.targets.length === 0) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    leaving.abort(new Error('the validator is shutting down'))
    await failed
    await closed
  })
})

describe('the settings of a proxy', () => {
  const rows: readonly (readonly [string, Record<string, unknown>])[] = [
    ['http://', { url: 'https://proxy.example:3128' }],
    ['http://', { url: 'socks5://proxy.example:1080' }],
    ['user name or a path', { url: 'http://me:secret@proxy.example:3128' }],
    ['user name or a path', { url: 'http://proxy.example:3128/path' }],
    ['belong together', { url: 'http://proxy.example', username: 'me' }],
    ['secrets are not written', { url: 'http://proxy.example', username: 'me', password: 'x' }],
    ['could not read', { url: 'http://proxy.example', username: 'me', password: { file: 'no' } }],
    ['unknown setting', { url: 'http://proxy.example', no_proxy: '*' }],
    ['is required', {}],
  ]
  for (const [problem, proxy] of rows) {
    it(`such as ${JSON.stringify(proxy)} are wrong: ${problem}`, async () => {
      const started = start('https://login.example', proxy)
      await expect(started).rejects.toThrow(problem)
      await expect(started).rejects.not.toThrow('secret@')
    })
  }
})
