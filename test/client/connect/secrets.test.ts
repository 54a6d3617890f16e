import { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import {
  TokenProvider,
  connectOAuth,
  credential,
  sources,
  tokenRequest,
} from '../../../src/client/index.ts'
import { logIn } from '../../../src/client/connect/log-in.ts'
import { parseRequireAuth } from '../../../src/client/exchange/require-auth.ts'
import { authenticationOk, authenticationSASL } from '../../../src/protocol/backend-messages.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { refusal, scriptedIssuer, tokenAnswer } from '../support/scripted-issuer.ts'
import { honest, scriptedServer } from '../support/scripted-server.ts'

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
    const grant = { issuer: issuer.issuer, clientId: 'c', allowInsecureIssuer: true } as const
    const secret = { ...grant, clientSecret: 'secret-client' } as const
    const all = [
      sources.clientCredentials({ ...secret, clientAuthentication: 'post' }),
      sources.refresh({ ...secret, refreshToken: 'secret-refresh', clientAuthentication: 'post' }),
      sources.tokenExchange({ ...grant, subjectToken: 'secret-subject' }),
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

  it('O2: a credential in an option object of ours does not show', () => {
    const source = sources.static('very-secret')
    expect(Object.keys(source)).not.toContain('accessToken')
    expect(JSON.stringify({ token: source, held: credential('very-secret') })).not.toContain('very')
  })
})
