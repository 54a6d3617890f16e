import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import {
  type Clock,
  TokenCallbackError,
  TokenProvider,
  type TokenSource,
  connectOAuth,
  credential,
  pgOAuth,
  postgresOAuth,
  runTokenCommand,
  sources,
  tokenRequest,
} from '../../../src/client/index.ts'
import { logIn } from '../../../src/client/connect/log-in.ts'
import { parseRequireAuth } from '../../../src/client/exchange/require-auth.ts'
import { authenticationOk, authenticationSASL } from '../../../src/protocol/backend-messages.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Route, refusal, scriptedIssuer, tokenAnswer } from '../support/scripted-issuer.ts'
import { honest, scriptedServer } from '../support/scripted-server.ts'

const grant = (issuer: string) => ({ issuer, clientId: 'c', allowInsecureIssuer: true }) as const

/** Waits for nothing. */
const hurried: Clock = {
  now: () => performance.now(),
  after: (_delayMs, run) => {
    const timer = setImmediate(run)
    return () => clearImmediate(timer)
  },
}

describe('secrets', () => {
  it('O4: the bytes that carried the token are wiped once they are written', async () => {
    const kept: Buffer[] = []
    const copies: Buffer[] = []
    const socket: Duplex = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        kept.push(chunk)
        copies.push(Buffer.from(chunk))
        if (kept.length === 2) {
          socket.push(authenticationOk())
        }
        setImmediate(done)
      },
    })
    socket.push(authenticationSASL(['OAUTHBEARER']))
    await logIn(socket, Buffer.from('startup'), {
      allows: parseRequireAuth('oauth'),
      offer: async () => 'very-secret-token',
      signal: new AbortController().signal,
    })
    await expect.poll(() => kept[1]?.every((byte) => byte === 0)).toBe(true)
    expect(copies[1]?.toString('latin1')).toContain('very-secret-token')
    expect(kept[0]?.toString()).toBe('startup')
  })

  it.each<[string, (issuer: string) => TokenSource, Partial<Record<'/token' | '/device', Route>>]>([
    [
      'access_token',
      (issuer) => sources.clientCredentials({ ...grant(issuer), clientSecret: 's' }),
      { '/token': () => ({ json: { access_token: 'secret+value', token_type: 'mac' } }) },
    ],
    [
      'refresh_token',
      (issuer) => sources.refresh({ ...grant(issuer), refreshToken: 'secret+value' }),
      {},
    ],
    [
      'client_secret',
      (issuer) =>
        sources.clientCredentials({
          ...grant(issuer),
          clientSecret: 'secret+value',
          clientAuthentication: 'post',
        }),
      {},
    ],
    [
      'device_code',
      (issuer) => sources.deviceFlow({ ...grant(issuer), clock: hurried, prompt() {} }),
      {
        '/device': () => ({
          json: {
            device_code: 'secret+value',
            user_code: 'AB',
            verification_uri: 'https://x',
            expires_in: 60,
          },
        }),
      },
    ],
    [
      'code',
      (issuer) =>
        sources.authorizationCode({
          ...grant(issuer),
          nonce: false,
          openBrowser: async (url) => {
            const { headers } = await fetch(url, { redirect: 'manual' })
            const asked = new URL(headers.get('location') ?? '').searchParams
            const answer = new URLSearchParams({
              code: 'secret+value',
              state: asked.get('state') ?? '',
            })
            // The page may be gone before it was read.
            void fetch(`${asked.get('redirect_uri')}?${answer.toString()}`).catch(() => {})
          },
        }),
      {},
    ],
    [
      'Authorization',
      (issuer) => sources.clientCredentials({ ...grant(issuer), clientSecret: 'secret+value' }),
      {},
    ],
    [
      'subject_token',
      (issuer) => sources.tokenExchange({ ...grant(issuer), subjectToken: 'secret+value' }),
      {},
    ],
  ])(
    'O3: %s is in no error and no log line, whatever the server repeats of it',
    async (name, make, routes) => {
      let sent: string[] = []
      const echo: Route = ({ form, headers }) => {
        const raw = [form[name] ?? '', (headers.authorization ?? '').replace('Basic ', '')]
        sent = raw.filter((value) => value !== '')
        const all = sent.flatMap((value) => [value, encodeURIComponent(value)])
        return refusal(all.join(' '), `you sent ${all.join(', ')} and ${JSON.stringify(form)}`)
      }
      await using issuer = await scriptedIssuer({ '/token': echo, ...routes })
      const lines: string[] = []
      const write = (message: string, fields?: object): void => {
        lines.push(message + JSON.stringify(fields))
      }
      const log = { debug: write, warning: write }
      const provider = new TokenProvider(make(issuer.issuer), { log })
      const error = await provider.get().catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(TokenCallbackError)
      if (name !== 'access_token') {
        expect(String(error)).toContain('[hidden]')
        expect(sent).not.toEqual([])
      }
      const shown = inspect(error, { depth: 9, showHidden: true }) + JSON.stringify(error) + lines
      for (const secret of ['secret+value', 'secret%2Bvalue', ...sent]) {
        expect(shown).not.toContain(secret)
      }
    },
  )

  it('O3: a command writes none to its streams', async () => {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'pgb-secrets-'))
    try {
      const file = path.join(directory, 'secret')
      await fs.writeFile(file, 'secret+value', { mode: 0o600 })
      await using issuer = await scriptedIssuer({
        '/token': ({ form, headers }) =>
          refusal('bad', `${form['client_secret']} ${headers.authorization}`),
      })
      for (const clientAuthentication of ['basic', 'post'] as const) {
        let written = ''
        const stream = { write: (text: string) => (written += text) }
        const flags = {
          source: 'client-credentials',
          ...grant(issuer.issuer),
          clientAuthentication,
        }
        const streams = { stdout: stream, stderr: stream }
        expect(await runTokenCommand({ ...flags, clientSecretFile: file }, streams)).toBe(2)
        const basic = Buffer.from('c:secret%2Bvalue').toString('base64')
        expect(written).toContain('[hidden]')
        expect(written).not.toContain('secret+value')
        expect(written).not.toContain(basic)
      }
    } finally {
      await fs.rm(directory, { recursive: true })
    }
  })

  it('O1, O3: nothing that is logged holds one, whatever happens', async () => {
    const lines: string[] = []
    const write = (message: string, fields?: object): void => {
      lines.push(message + JSON.stringify(fields))
    }
    const log = { debug: write, warning: write }
    const clock = new FakeClock()
    let n = 0
    const provider = new TokenProvider(
      () => {
        n += 1
        if (n === 2) {
          throw new Error('no')
        }
        return {
          accessToken: `very-secret-${n}`,
          refreshToken: 'secret-refresh',
          expiresInMs: 1000,
          client_secret: 'secret-of-the-client',
          Authorization: 'Bearer secret-header',
        } as { accessToken: string }
      },
      { log, clock },
    )
    await using server = await scriptedServer(honest((_token, index) => index === 0))
    const options = {
      host: server.host,
      port: server.port,
      user: 'ann',
      token: provider,
      tls: false,
      allowInsecureTransport: true,
      log,
    } as const
    ;(await connectOAuth(options)).socket.destroy()
    await clock.advance(950)
    await provider.get({
      username: 'ann',
      target: { host: server.host, port: server.port, database: undefined },
    })
    const failing = connectOAuth(options).catch(() => {})
    for (let turn = 0; turn < 50; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      await clock.advance(10)
    }
    await failing
    expect(lines.length).toBeGreaterThanOrEqual(3)
    expect(lines.join('\n')).not.toContain('secret-')
  })

  it('O1: no grant leaves one in its error', async () => {
    const names = ['client_secret', 'refresh_token', 'subject_token', 'code', 'device_code']
    await using issuer = await scriptedIssuer({
      '/token': ({ form, headers }) =>
        refusal('bad', [...names.map((name) => form[name]), headers.authorization].join(' ')),
    })
    const ours = grant(issuer.issuer)
    const secret = { ...ours, clientSecret: 'secret-client' } as const
    const all = [
      sources.clientCredentials({ ...secret, clientAuthentication: 'post' }),
      sources.refresh({ ...secret, refreshToken: 'secret-refresh', clientAuthentication: 'post' }),
      sources.tokenExchange({ ...ours, subjectToken: 'secret-subject' }),
    ]
    for (const source of all) {
      const error = await Promise.resolve(source.fn(tokenRequest({ context: undefined }))).catch(
        (thrown: unknown) => thrown,
      )
      expect(String(error)).toContain('[hidden]')
      expect(String(error)).not.toContain('secret-')
    }
    await using wrong = await scriptedIssuer({
      '/token': () => tokenAnswer('secret token with blanks', { refresh_token: 'secret-refresh' }),
    })
    const source = sources.clientCredentials({ ...secret, issuer: wrong.issuer })
    const error = await new TokenProvider(source).get().catch((thrown: unknown) => thrown)
    const chain = [error, (error as Error).cause].map(String).join('\n')
    expect(chain).not.toContain('secret')
  })

  it('O2: no source shows what it was made of', () => {
    const ours = { issuer: 'https://i.example', clientId: 'c', clientSecret: 'very-secret' }
    const made: readonly TokenSource[] = [
      sources.static('very-secret'),
      sources.clientCredentials(ours),
      sources.deviceFlow(ours),
      sources.authorizationCode(ours),
      sources.refresh({ ...ours, refreshToken: 'very-secret' }),
      sources.tokenExchange({ ...ours, subjectToken: 'very-secret' }),
      sources.aws(async () => ({ WebIdentityToken: 'very-secret' })),
    ]
    for (const source of made) {
      const options = { token: source, issuer: ours.issuer }
      const others = [pgOAuth(options), postgresOAuth(options), new TokenProvider(source)]
      for (const value of [source, options, ...others]) {
        const shown = inspect(value, { depth: 20, showHidden: true, getters: true })
        expect(shown + JSON.stringify(value)).not.toContain('very-secret')
      }
    }
  })

  it('O2: a credential in an option object of ours does not show', () => {
    const source = sources.static('very-secret')
    expect(Object.keys(source)).not.toContain('accessToken')
    expect(JSON.stringify({ token: source, held: credential('very-secret') })).not.toContain('very')
  })
})
