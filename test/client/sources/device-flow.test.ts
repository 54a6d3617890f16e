import { inspect } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import {
  type DeviceFlowOptions,
  type DevicePrompt,
  OAuthGrantError,
  TokenConfigError,
  TokenProvider,
  sources,
  tokenRequest,
} from '../../../src/client/index.ts'
import { createCertificateAuthority } from '../../../src/demo/certificates.ts'
import { startAuthorizationServer } from '../../../src/demo/authorization-server.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  type Answer,
  type Route,
  type ScriptedIssuer,
  refusal,
  scriptedIssuer,
  tokenAnswer,
} from '../support/scripted-issuer.ts'

const DEVICE = {
  device_code: 'device-secret-code',
  user_code: 'ABCD-EFGH',
  verification_uri: 'https://login.example/device',
  expires_in: 600,
}
const device =
  (more: object = {}): Route =>
  () => ({ json: { ...DEVICE, ...more } })

/** Answers in turn; the last one stays. */
const inTurn =
  (...answers: Answer[]): Route =>
  (_seen, count) =>
    answers[Math.min(count, answers.length) - 1]!

interface Run {
  readonly token: string | undefined
  readonly error: unknown
  readonly waits: number[]
  readonly prompts: DevicePrompt[]
}

/** One login; the clock runs as fast as it can. */
async function run(
  server: ScriptedIssuer,
  options: Partial<DeviceFlowOptions> = {},
  request: Parameters<typeof tokenRequest>[0] = {},
): Promise<Run> {
  const clock = new FakeClock()
  const prompts: DevicePrompt[] = []
  const source = sources.deviceFlow({
    issuer: server.issuer,
    clientId: 'cli',
    allowInsecureIssuer: true,
    clock,
    prompt: (prompt) => void prompts.push(prompt),
    ...options,
  })
  const state = { over: false }
  const running = Promise.resolve(source.fn(tokenRequest({ ...request, context: undefined })))
  const mark = (): void => {
    state.over = true
  }
  running.then(mark, mark)
  while (!state.over) {
    await new Promise((resolve) => setTimeout(resolve, 1))
    await clock.advance(1000)
  }
  const waits = clock.delays
  return running.then(
    ({ accessToken }) => ({ token: accessToken, error: undefined, waits, prompts }),
    (error: unknown) => ({ token: undefined, error, waits, prompts }),
  )
}

async function failure(
  routes: Record<string, Route>,
  options: Partial<DeviceFlowOptions> = {},
): Promise<string> {
  await using server = await scriptedIssuer(routes)
  const { error } = await run(server, options)
  expect(error).toBeInstanceOf(Error)
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('device-secret-code')
  return (error as Error).message
}

describe('the device flow', () => {
  it('J1: needs https unless it is told otherwise', async () => {
    await using server = await scriptedIssuer()
    const { error } = await run(server, { allowInsecureIssuer: false })
    expect(error).toBeInstanceOf(TokenConfigError)
    expect(server.seen).toHaveLength(0)
  })

  it('J1, J2: works against a real authorization server over https', async () => {
    const authority = await createCertificateAuthority()
    const pair = await authority.issue()
    await using server = await startAuthorizationServer({ tls: { ...pair, ca: authority.cert } })
    const source = sources.deviceFlow({
      issuer: server.issuer,
      clientId: server.deviceClient,
      scope: 'openid db',
      ca: authority.cert,
      prompt: (prompt) => server.approveDevice(prompt.verificationUriComplete!, 'ann'),
    })
    const { credential } = await new TokenProvider(source).get()
    const claims = JSON.parse(
      Buffer.from(credential.accessToken.split('.')[1]!, 'base64url').toString(),
    )
    expect(claims).toMatchObject({ sub: 'ann', iss: server.issuer, aud: server.audience })
    expect(credential.expiresInMs).toBe(300_000)
  })

  it('J1: does not trust an unknown authority', async () => {
    const authority = await createCertificateAuthority()
    await using server = await scriptedIssuer({}, { tls: await authority.issue() })
    const { error } = await run(server)
    expect(error).toMatchObject({ code: 'ERR_OAUTH_CONNECTION' })
    expect(server.seen).toHaveLength(0)
  })

  it('J2: prompts on stderr as libpq does', async () => {
    await using server = await scriptedIssuer({
      '/device': device(),
      '/token': () => tokenAnswer('t'),
    })
    const written: string[] = []
    const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      written.push(String(text))
      return true
    })
    try {
      const { token } = await run(server, { prompt: undefined })
      expect(token).toBe('t')
    } finally {
      stderr.mockRestore()
    }
    expect(written).toContain('Visit https://login.example/device and enter the code: ABCD-EFGH\n')
  })

  it('J26: does not print control characters of the server', async () => {
    const hostile = { verification_uri: 'https://x/\u001b[2J', user_code: 'A\r\nB\u202e' }
    await using server = await scriptedIssuer({
      '/device': device(hostile),
      '/token': () => tokenAnswer('t'),
    })
    const written: string[] = []
    const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      written.push(String(text))
      return true
    })
    try {
      await run(server, { prompt: undefined })
    } finally {
      stderr.mockRestore()
    }
    expect(written.find((line) => line.startsWith('Visit'))).toBe(
      'Visit https://x/\\u001b[2J and enter the code: A\\u000d\\u000aB\\u202e\n',
    )
  })

  it('J3: uses the server that the login is about', async () => {
    await using one = await scriptedIssuer({
      '/device': device(),
      '/token': () => tokenAnswer('1'),
    })
    await using two = await scriptedIssuer({
      '/device': device(),
      '/token': () => tokenAnswer('2'),
    })
    const options = { issuer: undefined }
    expect((await run(one, options, { issuer: two.issuer })).token).toBe('2')
    const discoveryUrl = `${one.issuer}/.well-known/openid-configuration`
    expect((await run(one, options, { issuer: one.issuer, discoveryUrl })).token).toBe('1')
    const foreign = await run(one, options, { issuer: two.issuer, discoveryUrl })
    expect(foreign.error).toBeInstanceOf(TokenConfigError)
    const pinned = await run(
      one,
      {},
      { issuer: two.issuer, discoveryUrl: `${two.issuer}/.well-known/openid-configuration` },
    )
    expect(pinned.error).toBeInstanceOf(TokenConfigError)
  })

  it('J4: refuses metadata of another issuer', async () => {
    for (const claim of ['https://other.example', undefined]) {
      await using server = await scriptedIssuer({}, { metadata: () => ({ issuer: claim }) })
      const { error } = await run(server)
      expect(error).toBeInstanceOf(OAuthGrantError)
      expect((error as Error).message).toContain('issuer')
    }
    await using slash = await scriptedIssuer(
      {},
      { metadata: (issuer) => ({ issuer: `${issuer}/` }) },
    )
    expect(((await run(slash)).error as Error).message).toContain('does not match')
  })

  it('J5, J16: sends id and secret form-encoded in Basic, and then no client_id', async () => {
    const printable = Array.from({ length: 95 }, (_, at) => String.fromCharCode(32 + at)).join('')
    for (const clientSecret of [printable, '', 's']) {
      await using server = await scriptedIssuer({
        '/device': device(),
        '/token': () => tokenAnswer('t'),
      })
      const { token } = await run(server, { clientId: printable, clientSecret })
      expect(token).toBe('t')
      for (const path of ['/device', '/token']) {
        const [seen] = server.at(path)
        const pair = Buffer.from(seen!.headers.authorization!.slice(6), 'base64').toString()
        const [id, secret] = pair.split(':')
        const decode = (text: string) => new URLSearchParams(`x=${text}`).get('x')
        expect([decode(id!), decode(secret!)]).toEqual([printable, clientSecret])
        expect(seen!.form['client_id']).toBeUndefined()
      }
    }
  })

  it('J5: sends the client_id in the body without a secret', async () => {
    await using server = await scriptedIssuer({
      '/device': device(),
      '/token': () => tokenAnswer('t'),
    })
    await run(server, { scope: 'a b' })
    expect(server.at('/device')[0]!.form).toEqual({ client_id: 'cli', scope: 'a b' })
    expect(server.at('/token')[0]!.form).toEqual({
      client_id: 'cli',
      device_code: 'device-secret-code',
      grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
    })
    expect(server.at('/token')[0]!.headers.authorization).toBeUndefined()
  })

  it('J6, J24: asks again while the person has not finished, and no more often than that', async () => {
    for (const pending of [1, 2]) {
      const answers = Array.from({ length: pending }, () => refusal('authorization_pending'))
      await using server = await scriptedIssuer({
        '/device': device({ interval: 3 }),
        '/token': inTurn(...answers, tokenAnswer('t')),
      })
      const { token, waits } = await run(server)
      expect(token).toBe('t')
      expect(server.at('/token')).toHaveLength(pending + 1)
      expect(waits).toEqual(Array.from({ length: pending + 1 }, () => 3000))
    }
  })

  it.each([
    [2, 2000],
    [null, 5000],
    [undefined, 5000],
    [0, 1000],
    [-4, 1000],
    [1.2, 2000],
  ])('J7: an interval of %s means %s ms', async (interval, expected) => {
    await using server = await scriptedIssuer({
      '/device': device({ interval }),
      '/token': () => tokenAnswer('t'),
    })
    expect((await run(server)).waits).toEqual([expected])
  })

  it('J7: an interval that is no number is refused', async () => {
    expect(await failure({ '/device': device({ interval: 'soon' }) })).toContain('interval')
  })

  it.each([
    'application/json',
    'application/json;charset=utf-8',
    'application/json \t; charset=utf-8',
  ])('J8: takes the content type %s', async (type) => {
    const body = JSON.stringify({ access_token: 't', token_type: 'bearer' })
    await using server = await scriptedIssuer({
      '/device': device(),
      '/token': () => ({ status: 200, headers: { 'content-type': type }, body }),
    })
    expect((await run(server)).token).toBe('t')
  })

  it.each(['text/plain', 'application/jsonx', 'text/html; application/json', undefined])(
    'J8: refuses the content type %s',
    async (type) => {
      const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type }
      const body = JSON.stringify(DEVICE)
      expect(await failure({ '/device': () => ({ status: 200, headers, body }) })).toContain(
        'unexpected content type',
      )
    },
  )

  it('J9: takes a verification_url', async () => {
    await using server = await scriptedIssuer({
      '/device': device({ verification_uri: undefined, verification_url: 'https://old.example' }),
      '/token': () => tokenAnswer('t'),
    })
    expect((await run(server)).prompts[0]?.verificationUri).toBe('https://old.example')
  })

  it('J9: needs one or the other, and both codes', async () => {
    for (const missing of ['verification_uri', 'user_code', 'device_code', 'expires_in']) {
      await failure({ '/device': device({ [missing]: undefined }) })
    }
  })

  it('J10: refuses answers that are too large', async () => {
    const large = { padding: 'x'.repeat(256 * 1024) }
    expect(await failure({ '/device': device(large) })).toContain('too large')
    const routes = { '/device': device(), '/token': () => tokenAnswer('t', large) }
    expect(await failure(routes)).toContain('too large')
    const bare = { '/.well-known/openid-configuration': () => ({ json: large }) }
    expect(await failure(bare)).toContain('too large')
  })

  it('J11: refuses answers that are nested more than 16 deep', async () => {
    const nested = (levels: number, open: string, close: string): unknown =>
      JSON.parse(open.repeat(levels) + (open === '[' ? '' : '1') + close.repeat(levels))
    for (const [open, close] of [
      ['[', ']'],
      ['{"a":', '}'],
    ] as const) {
      const deep = device({ x: nested(16, open, close) })
      expect(await failure({ '/device': deep })).toContain('too deeply nested')
      await using server = await scriptedIssuer({
        '/device': device({ x: nested(15, open, close) }),
        '/token': () => tokenAnswer('t'),
      })
      expect((await run(server)).token).toBe('t')
    }
  })

  it('J12: slows down by 5 seconds each time it is told to', async () => {
    await using server = await scriptedIssuer({
      '/device': device({ interval: 1 }),
      '/token': inTurn(
        refusal('slow_down'),
        refusal('authorization_pending'),
        refusal('slow_down'),
        tokenAnswer('t'),
      ),
    })
    expect((await run(server)).waits).toEqual([1000, 6000, 6000, 11_000])
  })

  it('J12: an interval beyond all bounds ends with the code', async () => {
    await using server = await scriptedIssuer({
      '/device': device({ interval: 1e300, expires_in: 30 }),
      '/token': () => refusal('slow_down'),
    })
    const { error, waits } = await run(server)
    expect(error).toMatchObject({ error: 'expired_token' })
    expect(waits).toEqual([30_000])
  })

  it('J13, J17: an error of the server ends it, with its description', async () => {
    for (const [error, description] of [
      ['invalid_grant', undefined],
      ['invalid_grant', 'the code is unknown'],
      ['access_denied', undefined],
      ['expired_token', undefined],
      ['something_new', 'who knows'],
    ] as const) {
      const routes = { '/device': device(), '/token': () => refusal(error, description) }
      const text = description === undefined ? error : `${description} (${error})`
      expect(await failure(routes)).toBe(`could not obtain access token: ${text}`)
    }
  })

  it('J14: says what is wrong with the client, unless the server does', async () => {
    const routes = (description?: string): Record<string, Route> => ({
      '/device': device(),
      '/token': () => refusal('invalid_client', description, 401),
    })
    expect(await failure(routes())).toContain('provider requires client authentication')
    expect(await failure(routes(), { clientSecret: 's' })).toContain(
      'provider rejected the client secret (invalid_client)',
    )
    expect(await failure(routes('blocked'), { clientSecret: 's' })).toContain(
      'blocked (invalid_client)',
    )
    const challenge: Route = () => ({
      status: 401,
      headers: { 'content-type': 'application/json', 'www-authenticate': 'Basic realm="x"' },
      body: '{"error":"invalid_client","error_description":"blocked"}',
    })
    expect(await failure({ '/device': challenge })).toContain('blocked (invalid_client)')
  })

  it('J15: refuses a token that is none', async () => {
    for (const token of ['', '****', 'a b', 'a\u0001']) {
      await failure({ '/device': device(), '/token': () => tokenAnswer(token) })
    }
  })

  it('J18: takes no other status, and follows no redirect', async () => {
    for (const status of [403, 500, 302, 201, 204]) {
      await using server = await scriptedIssuer({
        '/device': () => ({ status, headers: { location: '/elsewhere' } }),
      })
      const { error } = await run(server)
      expect(error).toBeInstanceOf(OAuthGrantError)
      expect(server.at('/elsewhere')).toHaveLength(0)
      expect(server.at('/token')).toHaveLength(0)
    }
  })

  it('J19: stops when the code has expired', async () => {
    await using server = await scriptedIssuer({
      '/device': device({ interval: 5, expires_in: 12 }),
      '/token': () => refusal('authorization_pending'),
    })
    const { error, waits } = await run(server)
    expect(error).toMatchObject({ error: 'expired_token' })
    expect(waits).toEqual([5000, 5000, 2000])
    expect(server.at('/token')).toHaveLength(2)
  })

  it('J20: backs off when the server cannot be reached', async () => {
    await using server = await scriptedIssuer({
      '/device': device({ interval: 1 }),
      '/token': inTurn('drop', 'drop', tokenAnswer('t')),
    })
    const { token, waits } = await run(server)
    expect(token).toBe('t')
    expect(waits).toEqual([1000, 2000, 4000])
  })

  it('J21: stops at once when it is aborted, whatever it is doing', async () => {
    const routes: Record<string, Route>[] = [
      { '/.well-known/openid-configuration': () => 'hang' },
      { '/device': () => 'hang' },
      { '/device': device({ interval: 100 }) },
    ]
    for (const one of routes) {
      await using server = await scriptedIssuer(one)
      const source = sources.deviceFlow({
        issuer: server.issuer,
        clientId: 'cli',
        allowInsecureIssuer: true,
        prompt: () => {},
      })
      const signal = AbortSignal.timeout(100)
      const running = Promise.resolve(source.fn(tokenRequest({ signal, context: undefined })))
      const error: unknown = await running.catch((thrown: unknown) => thrown)
      expect(error).toBe(signal.reason)
    }
  })

  it('J22: takes bearer tokens only', async () => {
    for (const type of ['mac', 'DPoP', 'N_A', '']) {
      const answer: Answer = { json: { access_token: 'very-secret-token', token_type: type } }
      const message = await failure({ '/device': device(), '/token': () => answer })
      expect(message).not.toContain('very-secret-token')
    }
    await using server = await scriptedIssuer({
      '/device': device(),
      '/token': () => ({ json: { access_token: 't', token_type: 'bEARER' } }),
    })
    expect((await run(server)).token).toBe('t')
  })

  it('J23: needs a device endpoint, over https', async () => {
    await using none = await scriptedIssuer(
      {},
      { metadata: () => ({ device_authorization_endpoint: undefined }) },
    )
    expect(((await run(none)).error as Error).message).toBe(
      'issuer has no device_authorization_endpoint',
    )
    const authority = await createCertificateAuthority()
    await using plain = await scriptedIssuer(
      {},
      {
        tls: await authority.issue(),
        metadata: () => ({ device_authorization_endpoint: 'http://127.0.0.1:1/device' }),
      },
    )
    const { error } = await run(plain, { ca: authority.cert, allowInsecureIssuer: false })
    expect((error as Error).message).toBe('device_authorization_endpoint must use HTTPS')
  })

  it('J25: a prompt that fails ends the login', async () => {
    const prompt = () => Promise.reject(new Error('no terminal'))
    await using server = await scriptedIssuer({ '/device': device() })
    expect((await run(server, { prompt })).error).toMatchObject({ message: 'no terminal' })
    expect(server.at('/token')).toHaveLength(0)
  })

  it('O1: a server that echoes secrets does not get them into an error', async () => {
    const echo: Route = ({ form }) => refusal('bad', `you sent ${form['device_code']}`)
    const message = await failure({ '/device': device(), '/token': echo })
    expect(message).toContain('you sent [hidden]')
  })

  it('L8, E16: renews with the refresh token, and asks the person when that is refused', async () => {
    await using server = await scriptedIssuer({
      '/device': device(),
      '/token': ({ form }) =>
        form['grant_type'] === 'refresh_token' && form['refresh_token'] === 'outdated'
          ? refusal('invalid_grant')
          : tokenAnswer(`by-${form['grant_type']?.replaceAll(':', '-')}`),
    })
    const renewed = await run(server, {}, { refreshToken: 'good', reason: 'expiring' })
    expect(renewed).toMatchObject({ token: 'by-refresh_token', prompts: [] })
    const again = await run(server, {}, { refreshToken: 'outdated', reason: 'expiring' })
    expect(again.token).toBe('by-urn-ietf-params-oauth-grant-type-device_code')
    expect(again.prompts).toHaveLength(1)
  })

  it('K20: a refresh that fails for another reason asks nobody', async () => {
    await using server = await scriptedIssuer({ '/token': () => 'drop' })
    const { error, prompts } = await run(server, {}, { refreshToken: 'r', reason: 'expiring' })
    expect(error).toMatchObject({ code: 'ERR_OAUTH_CONNECTION' })
    expect(prompts).toHaveLength(0)
  })
})
