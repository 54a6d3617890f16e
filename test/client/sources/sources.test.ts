import crypto from 'node:crypto'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  OAuthGrantError,
  TokenConfigError,
  TokenProvider,
  TokenTimeoutError,
  credential,
  sources,
  tokenCallback,
  tokenRequest,
} from '../../../src/client/index.ts'
import type { TokenCallback } from '../../../src/client/index.ts'
import { kubernetesTokenPath } from '../../../src/client/sources/simple-sources.ts'
import { startAuthorizationServer } from '../../../src/demo/authorization-server.ts'
import { refusal, scriptedIssuer, tokenAnswer } from '../support/scripted-issuer.ts'

let directory: string
beforeAll(async () => {
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'pgb-src-'))
})
afterAll(() => fs.rm(directory, { recursive: true, force: true }))

async function fileWith(text: string, mode = 0o600): Promise<string> {
  const file = path.join(directory, crypto.randomUUID())
  await fs.writeFile(file, text)
  await fs.chmod(file, mode)
  return file
}

type Fields = Parameters<typeof tokenRequest>[0]
const call = async (source: TokenCallback<undefined>, fields: Fields = {}) =>
  source.fn(tokenRequest({ ...fields, context: undefined }))
const token = async (source: TokenCallback<undefined>, fields: Fields = {}) =>
  (await call(source, fields)).accessToken
const thrownBy = async (source: TokenCallback<undefined>, fields: Fields = {}) =>
  call(source, fields).then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => error,
  )
/** A JWT that nobody signed. */
const jwt = (claims: object): string =>
  `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`

describe('a token file', () => {
  it('L1: loses one newline and nothing else', async () => {
    for (const [text, expected] of [
      ['abc\n', 'abc'],
      ['abc\r\n', 'abc'],
      ['abc', 'abc'],
    ] as const) {
      expect(await token(sources.file(await fileWith(text)))).toBe(expected)
    }
    for (const text of ['abc\n\n', ' abc', 'abc ']) {
      const provider = new TokenProvider(sources.file(await fileWith(text)))
      await expect(provider.get()).rejects.toThrow('not in the format of RFC 6750')
    }
  })

  it('L1, L10: is read anew for every call', async () => {
    const file = await fileWith('one')
    const source = sources.file(file)
    expect(await token(source)).toBe('one')
    await fs.writeFile(file, 'two')
    expect(await token(source)).toBe('two')
  })

  it('L1: is refused when it is missing, empty, too large or readable by others', async () => {
    const missing = path.join(directory, 'missing')
    const cases = [
      [missing, 'ENOENT'],
      [await fileWith(''), 'is empty'],
      [await fileWith('\n'), 'is empty'],
      [await fileWith('x'.repeat(66_000)), 'too large'],
      [await fileWith('very-secret', 0o640), 'can be read by group or others'],
      [await fileWith('very-secret', 0o604), 'can be read by group or others'],
    ] as const
    for (const [file, why] of cases) {
      const error = await thrownBy(sources.file(file))
      expect(error).toBeInstanceOf(TokenConfigError)
      expect((error as Error).message).toContain(why)
      expect(inspect(error)).not.toContain('very-secret')
    }
    const loose = await fileWith('shared', 0o644)
    expect(await token(sources.file(loose, { allowLoosePermissions: true }))).toBe('shared')
  })

  it('L1: may be a variable, as in GitLab, or a value', async () => {
    expect(await token(sources.environment('DB_TOKEN', { DB_TOKEN: 'abc\n' }))).toBe('abc')
    expect(await token(sources.gitlab('DB_TOKEN', { DB_TOKEN: 'abc' }))).toBe('abc')
    expect(await token(sources.static('abc'))).toBe('abc')
    expect(await thrownBy(sources.environment('NO', {}))).toBeInstanceOf(TokenConfigError)
    expect(await thrownBy(sources.environment('NO', { NO: '' }))).toBeInstanceOf(TokenConfigError)
    expect(() => sources.static('')).toThrow(TypeError)
    expect(inspect(sources.static('very-secret'), { depth: 9, showHidden: true })).not.toContain(
      'very-secret',
    )
  })
})

describe('kubernetes', () => {
  it('L2: wants the path of a token of its own', () => {
    expect(() => sources.kubernetes({})).toThrow('whose audience is this database')
    expect(() => sources.kubernetes({ path: '/x', shared: true })).toThrow(TokenConfigError)
  })

  it('L2: reads the file that the kubelet renews', async () => {
    const file = await fileWith('projected\n', 0o644)
    const source = sources.kubernetes({ path: file })
    expect(await token(source)).toBe('projected')
    await fs.writeFile(file, 'rotated\n')
    expect(await token(source)).toBe('rotated')
  })

  it('L2: prefers Azure’s file to AWS’s and that to the default, where sharing is wanted', async () => {
    const azure = await fileWith('azure')
    const aws = await fileWith('aws')
    const both = { AZURE_FEDERATED_TOKEN_FILE: azure, AWS_WEB_IDENTITY_TOKEN_FILE: aws }
    const shared = (environment: NodeJS.ProcessEnv) =>
      sources.kubernetes({ shared: true, environment })
    expect(await token(shared(both))).toBe('azure')
    expect(await token(shared({ AWS_WEB_IDENTITY_TOKEN_FILE: aws }))).toBe('aws')
    expect(kubernetesTokenPath({})).toBe('/var/run/secrets/kubernetes.io/serviceaccount/token')
  })
})

const IMDS = '/metadata/identity/oauth2/token'

describe('azure', () => {
  it.each([
    ['mongodb://test-cluster', 'mongodb%3A%2F%2Ftest-cluster'],
    ['abcd%ef:g&hi', 'abcd%25ef%3Ag%26hi'],
    ['a$b', 'a%24b'],
  ])('L3, C13: asks for the resource %s, encoded once', async (resource, encoded) => {
    const urls: string[] = []
    await using server = await scriptedIssuer({
      [IMDS]: ({ query }) => {
        urls.push(query.toString())
        return { json: { access_token: 't', expires_in: '3600' } }
      },
    })
    expect(await token(sources.azure({ resource, endpoint: server.issuer }))).toBe('t')
    expect(urls).toEqual([`api-version=2018-02-01&resource=${encoded}`])
    const { headers } = server.at(IMDS)[0]!
    expect(headers).toMatchObject({ metadata: 'true', accept: 'application/json' })
  })

  it('L3, D14: names a client id only where there is one, and passes on that it is wrong', async () => {
    await using server = await scriptedIssuer({
      [IMDS]: ({ query }) =>
        query.get('client_id') === 'bad'
          ? refusal('invalid_request', 'Identity not found')
          : { json: { access_token: `for-${query.get('client_id')}` } },
    })
    const source = (clientId?: string) =>
      sources.azure({ resource: 'r', endpoint: server.issuer, clientId })
    expect(await token(source())).toBe('for-null')
    expect(await token(source('c'))).toBe('for-c')
    expect(String(await thrownBy(source('bad')))).toContain('Identity not found')
  })

  it('L3: takes an expiry as a string or a number of seconds', async () => {
    for (const [expiresIn, expected] of [
      ['3600', 3_600_000],
      [3600, 3_600_000],
      [undefined, undefined],
      [0, 0],
    ]) {
      await using server = await scriptedIssuer({
        [IMDS]: () => ({ json: { access_token: 't', expires_in: expiresIn } }),
      })
      const got = await call(sources.azure({ resource: 'r', endpoint: server.issuer }))
      expect(got.expiresInMs).toBe(expected)
    }
    for (const expiresIn of ['soon', -1, '', {}, true]) {
      await using server = await scriptedIssuer({
        [IMDS]: () => ({ json: { access_token: 't', expires_in: expiresIn } }),
      })
      const error = await thrownBy(sources.azure({ resource: 'r', endpoint: server.issuer }))
      expect(error).toBeInstanceOf(OAuthGrantError)
    }
  })

  it('L3: shows a refusal shortened and without tokens', async () => {
    const secret = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ'
    await using server = await scriptedIssuer({
      [IMDS]: () => ({ status: 400, body: `no: ${secret} ${'x '.repeat(500)}` }),
    })
    const error = await thrownBy(sources.azure({ resource: 'r', endpoint: server.issuer }))
    const message = (error as Error).message
    expect(message).toContain('Azure answered with status 400: no: [hidden]')
    expect(message.length).toBeLessThan(300)
  })

  it('L3: follows no redirect and no proxy variable', async () => {
    await using server = await scriptedIssuer({
      [IMDS]: () => ({ status: 302, headers: { location: '/elsewhere' } }),
    })
    await using proxy = await scriptedIssuer()
    const variables = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'ALL_PROXY', 'NODE_USE_ENV_PROXY']
    for (const name of variables) {
      process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : proxy.issuer
    }
    try {
      const error = await thrownBy(sources.azure({ resource: 'r', endpoint: server.issuer }))
      expect(error).toMatchObject({ status: 302 })
    } finally {
      for (const name of variables) {
        delete process.env[name]
      }
    }
    expect(server.at('/elsewhere')).toHaveLength(0)
    expect(proxy.seen).toHaveLength(0)
  })

  it('L3: refuses an answer that is no token', async () => {
    for (const json of [{}, { access_token: '' }, { access_token: 7 }, [], 'text']) {
      await using server = await scriptedIssuer({ [IMDS]: () => ({ json }) })
      const error = await thrownBy(sources.azure({ resource: 'r', endpoint: server.issuer }))
      expect(error).toBeInstanceOf(OAuthGrantError)
    }
  })

  it('C15: needs a resource', () => {
    expect(() => sources.azure({ resource: '' })).toThrow(TokenConfigError)
    expect(() => sources.azure({} as never)).toThrow(TokenConfigError)
  })
})

describe('google cloud', () => {
  const PATH = '/computeMetadata/v1/instance/service-accounts/default/identity'

  it('L4: sends its header, takes the body as the token and its exp as a hint', async () => {
    const body = jwt({ exp: Math.floor(Date.now() / 1000) + 600 })
    await using server = await scriptedIssuer({
      [PATH]: () => ({ status: 200, body: `${body}\n` }),
    })
    const got = await call(
      sources.googleCloud({ audience: 'https://db/?a=b', endpoint: server.issuer }),
    )
    expect(got.accessToken).toBe(body)
    expect(got.expiresInMs).toBeGreaterThan(590_000)
    expect(got.expiresInMs).toBeLessThanOrEqual(600_000)
    const seen = server.at(PATH)[0]!
    expect(seen.headers['metadata-flavor']).toBe('Google')
    expect(seen.query.get('audience')).toBe('https://db/?a=b')
  })

  it('L4: knows no expiry where the token says none', async () => {
    for (const body of [jwt({}), jwt({ exp: 'soon' }), 'opaque', 'a.b.c', 'a..']) {
      await using server = await scriptedIssuer({ [PATH]: () => ({ status: 200, body }) })
      const got = await call(sources.googleCloud({ audience: 'a', endpoint: server.issuer }))
      expect(got.expiresInMs).toBeUndefined()
    }
  })

  it('L4, C18: needs an audience and an answer', async () => {
    expect(() => sources.googleCloud({ audience: '' })).toThrow(TokenConfigError)
    await using empty = await scriptedIssuer({ [PATH]: () => ({ status: 200, body: '\n' }) })
    const source = sources.googleCloud({ audience: 'a', endpoint: empty.issuer })
    expect(await thrownBy(source)).toBeInstanceOf(OAuthGrantError)
  })
})

describe('github actions', () => {
  it('L5: asks with the job’s own token, whether or not the URL has a query', async () => {
    for (const query of ['', '?api-version=2']) {
      await using server = await scriptedIssuer({ '/token': () => ({ json: { value: jwt({}) } }) })
      const environment = {
        ACTIONS_ID_TOKEN_REQUEST_URL: `${server.issuer}/token${query}`,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'job-token',
      }
      const source = sources.githubActions({ audience: 'https://db & co', environment })
      expect(await token(source)).toBe(jwt({}))
      const seen = server.at('/token')[0]!
      expect(seen.headers.authorization).toBe('bearer job-token')
      expect(seen.query.get('audience')).toBe('https://db & co')
      expect(seen.query.get('api-version')).toBe(query === '' ? null : '2')
    }
  })

  it('L5: says which permission is missing', async () => {
    for (const environment of [
      {},
      { ACTIONS_ID_TOKEN_REQUEST_URL: 'https://x' },
      { ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'x' },
    ]) {
      const error = await thrownBy(sources.githubActions({ audience: 'a', environment }))
      expect(String(error)).toContain('id-token: write')
    }
  })

  it('L5: needs a value, and does not show the job’s token', async () => {
    const environment = { ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'very-secret' }
    for (const answer of [
      { json: {} },
      { json: { value: 7 } },
      { status: 403, body: 'very-secret is not allowed' },
    ]) {
      await using server = await scriptedIssuer({ '/token': () => answer })
      const url = `${server.issuer}/token`
      const source = sources.githubActions({
        audience: 'a',
        environment: { ...environment, ACTIONS_ID_TOKEN_REQUEST_URL: url },
      })
      const error = await thrownBy(source)
      expect(error).toBeInstanceOf(OAuthGrantError)
      expect(inspect(error, { depth: 9 })).not.toContain('very-secret')
    }
  })
})

describe('aws', () => {
  it('takes what the SDK returns, with its expiry', async () => {
    const Expiration = new Date(Date.now() + 300_000)
    const got = await call(sources.aws(async () => ({ WebIdentityToken: 't', Expiration })))
    expect(got.accessToken).toBe('t')
    expect(got.expiresInMs).toBeGreaterThan(290_000)
    expect(await thrownBy(sources.aws(async () => ({})))).toBeInstanceOf(OAuthGrantError)
    const past = { WebIdentityToken: 't', Expiration: new Date(0) }
    expect(await thrownBy(sources.aws(async () => past))).toBeInstanceOf(OAuthGrantError)
  })
})

describe('an external command', () => {
  const node = (script: string): readonly [string, ...string[]] => [process.execPath, '-e', script]

  it('L6: takes its JSON or its text', async () => {
    const json = node('console.log(JSON.stringify({access_token: "t", expires_in: 60, more: 1}))')
    expect(await call(sources.externalCommand({ command: json }))).toMatchObject({
      accessToken: 't',
      expiresInMs: 60_000,
    })
    const text = node('console.log("t")')
    expect(await token(sources.externalCommand({ command: text, output: 'text' }))).toBe('t')
  })

  it('L6: is told what is wanted, and has no shell', async () => {
    const script =
      'console.log([process.argv[1], process.env.PGBEARER_USER, process.env.PGBEARER_REASON].join("."))'
    const [program, ...args] = node(script)
    const source = sources.externalCommand({
      command: [program, ...args, '--', '$(echo hi)'],
      output: 'text',
    })
    expect(await token(source, { username: 'ann' })).toBe('$(echo hi).ann.initial')
  })

  it('L6: fails when it exits with another code, writes no JSON or cannot be run', async () => {
    const cases = [
      [node('process.stdout.write("very-secret"); process.exit(3)'), 'exited with code 3'],
      [node('console.log("very-secret")'), 'did not write a JSON object'],
      [node('console.log("[]")'), 'did not write a JSON object'],
      [node('console.log("null")'), 'did not write a JSON object'],
      [node('console.log(`{"access_token": 7}`)'), 'wrong type'],
      [node('console.log(`{"access_token": "t", "expires_in": "1"}`)'), 'wrong type'],
      [node('console.log("x".repeat(200000))'), 'wrote too much'],
      [['/nonexistent/program'], 'ENOENT'],
    ] as const
    for (const [command, why] of cases) {
      const error = await thrownBy(sources.externalCommand({ command }))
      expect((error as Error).message).toContain(why)
      expect(inspect(error)).not.toContain('very-secret')
    }
    expect(() => sources.externalCommand({ command: [''] })).toThrow(TokenConfigError)
  })

  it('L6: a timeout kills it and everything it has started', async () => {
    const pids = path.join(directory, 'pids')
    const script = `
      const { spawn } = require('node:child_process')
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
      require('node:fs').writeFileSync(${JSON.stringify(pids)}, process.pid + ' ' + child.pid)
      setInterval(() => {}, 1000)`
    const source = sources.externalCommand({ command: node(script) })
    const provider = new TokenProvider(source, { timeoutMs: 1500 })
    await expect(provider.get()).rejects.toBeInstanceOf(TokenTimeoutError)
    const alive = async (): Promise<boolean> =>
      (
        await Promise.all(
          (await fs.readFile(pids, 'utf8')).split(' ').map(async (pid) => {
            const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
            return stat !== '' && !/\) Z /.test(stat)
          }),
        )
      ).includes(true)
    while (await alive()) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  })
})

describe('client credentials', () => {
  it('L7: work against a real authorization server', async () => {
    await using server = await startAuthorizationServer()
    const source = sources.clientCredentials({
      issuer: server.issuer,
      clientId: server.serviceClient.id,
      clientSecret: server.serviceClient.secret,
      scope: 'db',
      allowInsecureIssuer: true,
    })
    const { credential: got } = await new TokenProvider(source).get()
    expect(got.accessToken.split('.')).toHaveLength(3)
    expect(got.expiresInMs).toBe(300_000)
    const wrong = sources.clientCredentials({
      issuer: server.issuer,
      clientId: server.serviceClient.id,
      clientSecret: 'wrong-secret',
      allowInsecureIssuer: true,
    })
    const error = await thrownBy(wrong)
    expect(error).toMatchObject({ error: 'invalid_client', status: 401 })
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('wrong-secret')
  })

  it('L7: prove who they are by Basic, by the body or by a signature', async () => {
    await using server = await scriptedIssuer({ '/token': () => tokenAnswer('t') })
    const options = { issuer: server.issuer, clientId: 'c', allowInsecureIssuer: true } as const
    await token(
      sources.clientCredentials({ ...options, clientSecret: 's', audience: 'a', resource: 'r' }),
    )
    await token(
      sources.clientCredentials({ ...options, clientSecret: 's', clientAuthentication: 'post' }),
    )
    const { privateKey } = await crypto.webcrypto.subtle.generateKey(
      { name: 'ECDSA', namedCurve: 'P-256' },
      false,
      ['sign', 'verify'],
    )
    await token(
      sources.clientCredentials({ ...options, clientAuthentication: { privateKey, keyId: 'k' } }),
    )
    const [basic, post, signed] = server.at('/token')
    expect(basic!.headers.authorization).toBe(`Basic ${Buffer.from('c:s').toString('base64')}`)
    expect(basic!.form).toEqual({ grant_type: 'client_credentials', audience: 'a', resource: 'r' })
    expect(post!.form).toMatchObject({ client_id: 'c', client_secret: 's' })
    expect(post!.headers.authorization).toBeUndefined()
    const [header, claims] = signed!.form['client_assertion']!.split('.')
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()))
    expect(header).toMatchObject({ alg: 'ES256', kid: 'k' })
    expect(claims).toMatchObject({ iss: 'c', sub: 'c' })
  })

  it('L7: need a secret or a key, an issuer and a client id', async () => {
    expect(() => sources.clientCredentials({})).toThrow(TokenConfigError)
    const source = sources.clientCredentials({ clientSecret: 's' })
    expect(await thrownBy(source)).toBeInstanceOf(TokenConfigError)
    expect(await thrownBy(source, { clientId: 'c' })).toBeInstanceOf(TokenConfigError)
  })

  it('L10: keep nothing between calls', async () => {
    await using server = await scriptedIssuer({ '/token': (_seen, n) => tokenAnswer(`t${n}`) })
    const source = sources.clientCredentials({
      issuer: server.issuer,
      clientId: 'c',
      clientSecret: 's',
      allowInsecureIssuer: true,
    })
    expect(await token(source)).toBe('t1')
    expect(await token(source)).toBe('t2')
  })
})

describe('refresh', () => {
  const options = { clientId: 'c', allowInsecureIssuer: true, refreshToken: 'r0' } as const

  it('L8: uses the newest refresh token and reports a new one before its token is used', async () => {
    const kept: string[] = []
    await using server = await scriptedIssuer({
      '/token': (_seen, n) => tokenAnswer(`t${n}`, { refresh_token: `r${n}`, expires_in: 0 }),
    })
    const source = sources.refresh({
      ...options,
      issuer: server.issuer,
      onRotate: (refreshToken) => void kept.push(refreshToken),
    })
    const first = await call(source)
    expect(kept).toEqual(['r1'])
    await call(source, { refreshToken: first.refreshToken })
    expect(server.at('/token').map(({ form }) => form['refresh_token'])).toEqual(['r0', 'r1'])
    expect(kept).toEqual(['r1', 'r2'])
  })

  it('L8: keeps the old refresh token where the server sends no new one', async () => {
    await using server = await scriptedIssuer({ '/token': () => tokenAnswer('t') })
    const source = sources.refresh({ ...options, issuer: server.issuer })
    expect((await call(source)).refreshToken).toBe('r0')
  })

  it('L8: concurrent needs refresh once', async () => {
    await using server = await scriptedIssuer({ '/token': () => tokenAnswer('t') })
    const provider = new TokenProvider(sources.refresh({ ...options, issuer: server.issuer }))
    await Promise.all(Array.from({ length: 50 }, () => provider.get()))
    expect(server.at('/token')).toHaveLength(1)
  })

  it('L8: is an error for a machine when it is refused, and a token whose keeping failed is lost', async () => {
    await using server = await scriptedIssuer({ '/token': () => refusal('invalid_grant') })
    const source = sources.refresh({ ...options, issuer: server.issuer })
    expect(await thrownBy(source)).toMatchObject({ error: 'invalid_grant' })
    await using rotating = await scriptedIssuer({
      '/token': () => tokenAnswer('t', { refresh_token: 'r1' }),
    })
    const unkept = sources.refresh({
      ...options,
      issuer: rotating.issuer,
      onRotate: () => Promise.reject(new Error('disk full')),
    })
    expect(await thrownBy(unkept)).toMatchObject({ message: 'disk full' })
    expect(() => sources.refresh({ ...options, refreshToken: '' })).toThrow(TokenConfigError)
  })
})

describe('token exchange', () => {
  const ACCESS = 'urn:ietf:params:oauth:token-type:access_token'

  it('L9: sends what RFC 8693 says, with a token from any source', async () => {
    await using server = await scriptedIssuer({
      '/token': () => tokenAnswer('t', { issued_token_type: ACCESS, expires_in: 60 }),
    })
    const options = {
      issuer: server.issuer,
      clientId: 'proxy',
      clientSecret: 's',
      audience: 'upstream',
      allowInsecureIssuer: true,
    }
    const subjects = [
      'of-the-client',
      () => credential('of-the-client'),
      tokenCallback<string>(({ context }) => credential(context), { context: 'of-the-client' }),
    ]
    for (const subjectToken of subjects) {
      const got = await call(sources.tokenExchange({ ...options, subjectToken }))
      expect(got).toMatchObject({ accessToken: 't', expiresInMs: 60_000 })
    }
    for (const { form } of server.at('/token')) {
      expect(form).toEqual({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: 'of-the-client',
        subject_token_type: ACCESS,
        audience: 'upstream',
      })
    }
  })

  it('L9: takes N_A for a type and only tokens that give access', async () => {
    const types = [
      [ACCESS, 'N_A', true],
      ['urn:ietf:params:oauth:token-type:jwt', 'N_A', true],
      [ACCESS, 'Bearer', true],
      ['urn:ietf:params:oauth:token-type:refresh_token', 'N_A', false],
      ['urn:ietf:params:oauth:token-type:saml2', 'N_A', false],
      [undefined, 'Bearer', false],
      [ACCESS, 'DPoP', false],
      [ACCESS, 'mac', false],
    ] as const
    for (const [issuedType, tokenType, accepted] of types) {
      await using server = await scriptedIssuer({
        '/token': () => ({
          json: { access_token: 't', token_type: tokenType, issued_token_type: issuedType },
        }),
      })
      const source = sources.tokenExchange({
        issuer: server.issuer,
        clientId: 'c',
        subjectToken: 'very-secret',
        allowInsecureIssuer: true,
      })
      expect(
        await call(source).then(
          () => true,
          () => false,
        ),
      ).toBe(accepted)
    }
  })

  it('L9, O1: does not show the token that was exchanged', async () => {
    await using server = await scriptedIssuer({
      '/token': ({ form }) => refusal('invalid_request', `bad ${form['subject_token']}`),
    })
    const source = sources.tokenExchange({
      issuer: server.issuer,
      clientId: 'c',
      subjectToken: 'very-secret',
      allowInsecureIssuer: true,
    })
    const error = await thrownBy(source)
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('very-secret')
  })
})

describe('every source that asks somebody', () => {
  it('L10: asks anew for every call, and holds nothing of the one before', async () => {
    const fresh = (_seen: unknown, n: number) => tokenAnswer(`t${n}`)
    await using server = await scriptedIssuer({
      '/token': (seen, n) =>
        seen.form['grant_type']?.endsWith('token-exchange') === true
          ? tokenAnswer(`t${n}`, {
              issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
            })
          : fresh(seen, n),
      '/metadata/identity/oauth2/token': fresh,
      '/computeMetadata/v1/instance/service-accounts/default/identity': (_seen, n) => ({
        status: 200,
        body: `t${n}`,
      }),
      '/github': (_seen, n) => ({ json: { value: `t${n}` } }),
    })
    const grant = { issuer: server.issuer, clientId: 'c', allowInsecureIssuer: true } as const
    const file = await fileWith('t1')
    const environment: Record<string, string> = {
      VARIABLE: 't1',
      ACTIONS_ID_TOKEN_REQUEST_URL: `${server.issuer}/github`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'job',
    }
    let calls = 0
    const all = {
      file: sources.file(file),
      kubernetes: sources.kubernetes({ path: file }),
      environment: sources.environment('VARIABLE', environment),
      azure: sources.azure({ resource: 'r', endpoint: server.issuer }),
      googleCloud: sources.googleCloud({ audience: 'a', endpoint: server.issuer }),
      githubActions: sources.githubActions({ audience: 'a', environment }),
      aws: sources.aws(async () => {
        calls += 1
        return { WebIdentityToken: `t${calls}` }
      }),
      externalCommand: sources.externalCommand({
        command: [process.execPath, '-p', `require('node:fs').readFileSync('${file}', 'utf8')`],
        output: 'text',
      }),
      refresh: sources.refresh({ ...grant, refreshToken: 'r' }),
      tokenExchange: sources.tokenExchange({ ...grant, subjectToken: 's' }),
      clientCredentials: sources.clientCredentials({ ...grant, clientSecret: 's' }),
    }
    for (const [name, source] of Object.entries(all)) {
      await fs.writeFile(file, 't1')
      environment['VARIABLE'] = 't1'
      const first = await token(source)
      await fs.writeFile(file, 't2')
      environment['VARIABLE'] = 't2'
      expect(await token(source), name).not.toBe(first)
    }
  })
})
