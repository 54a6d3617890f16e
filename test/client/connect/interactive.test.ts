import { describe, expect, it } from 'vitest'
import {
  type ConnectOAuthOptions,
  type CredentialLike,
  OAuthProtocolError,
  TokenCallbackError,
  TokenConfigError,
  TokenProvider,
  type TokenProviderOptions,
  TokenRejectedError,
  type TokenRequest,
  connectOAuth,
  credential,
  sources,
  tokenCallback,
} from '../../../src/client/index.ts'
import { isAllowedHost } from '../../../src/client/connect/allowed-hosts.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  DISCOVERY_URL,
  ISSUER,
  REFUSAL,
  type Script,
  type ScriptedServer,
  honest,
  scriptedServer,
} from '../support/scripted-server.ts'

class Person {
  readonly requests: TokenRequest[] = []
  readonly provider: TokenProvider
  readonly clock: FakeClock = new FakeClock()

  constructor(
    make: (n: number) => CredentialLike = (n) => credential(`t${n}`),
    options: TokenProviderOptions = {},
  ) {
    this.provider = new TokenProvider(
      tokenCallback(
        async (request) => {
          this.requests.push(request)
          return make(this.requests.length)
        },
        { interactive: true },
      ),
      { clock: this.clock, ...options },
    )
  }

  /** Logs in; the clock runs on so that no spacing is waited for. */
  async login(server: ScriptedServer, options: Partial<ConnectOAuthOptions> = {}): Promise<void> {
    const running = connectOAuth({
      tls: false,
      insecure: 'loopback-only',
      user: 'ann',
      host: server.host,
      port: server.port,
      issuer: ISSUER,
      token: this.provider,
      ...options,
    })
    const state = { over: false }
    const mark = (): void => {
      state.over = true
    }
    running.then(mark, mark)
    while (!state.over) {
      await this.clock.advance(1)
    }
    const { socket } = await running
    socket.destroy()
  }
}

function exchanges(server: ScriptedServer): string[] {
  return server.peers.flatMap((peer) =>
    peer.received
      .map((bytes) => /auth=(?:Bearer )?([^\x01]*)\x01/.exec(bytes.toString('latin1'))?.[1])
      .filter((token) => token !== undefined),
  )
}

/** Announces another issuer for every role. */
const byRole =
  (issuers: Readonly<Record<string, string>>): Script =>
  async (peer) => {
    const token = await peer.askToken()
    const role = /user\0([^\0]*)/.exec(peer.startup.toString('latin1'))?.[1] ?? ''
    if (token !== '' && token !== undefined) {
      peer.welcome()
      return
    }
    const url = `${issuers[role]}/.well-known/openid-configuration`
    await peer.refuse(JSON.stringify({ status: 'invalid_token', 'openid-configuration': url }))
  }

describe('a login of a person', () => {
  it('E1, E2, E13: asks the server where tokens come from, then the person, then logs in', async () => {
    await using server = await scriptedServer(honest((token) => token === 't1'))
    const person = new Person()
    await person.login(server)
    expect(exchanges(server)).toEqual(['', 't1'])
    expect(person.requests[0]).toMatchObject({
      username: 'ann',
      issuer: ISSUER,
      discoveryUrl: DISCOVERY_URL,
      scope: 'openid db',
    })
  })

  it('E13: the discovery connection is over before the person is asked', async () => {
    await using server = await scriptedServer(honest(() => true))
    const seen: unknown[] = []
    const person = new Person((n) => {
      seen.push(server.peers.map((peer) => peer.received.at(-1)))
      return credential(`t${n}`)
    })
    await person.login(server)
    expect(seen).toEqual([[Buffer.from([0x70, 0, 0, 0, 5, 1])]])
  })

  it('E3, E4: two roles of one server may have two issuers', async () => {
    const issuers = { ann: 'https://a.example', bob: 'https://b.example' }
    await using server = await scriptedServer(byRole(issuers))
    const person = new Person()
    await person.login(server, { user: 'ann', issuer: issuers.ann })
    await person.login(server, { user: 'bob', issuer: issuers.bob })
    expect(person.requests.map(({ issuer }) => issuer)).toEqual([issuers.ann, issuers.bob])
    expect(exchanges(server)).toEqual(['', 't1', '', 't2'])
  })

  it('E5: without an issuer that is trusted nobody is asked', async () => {
    await using server = await scriptedServer(honest(() => true))
    const person = new Person()
    await expect(person.login(server, { issuer: undefined })).rejects.toBeInstanceOf(
      TokenConfigError,
    )
    expect(server.accepted).toBe(0)
    await expect(person.login(server, { issuer: 'https://other.example' })).rejects.toBeInstanceOf(
      OAuthProtocolError,
    )
    expect(person.requests).toHaveLength(0)
  })

  it('G21: an announced issuer that differs in a byte is another one', async () => {
    await using server = await scriptedServer(honest(() => true))
    const person = new Person()
    for (const issuer of [`${ISSUER}/`, 'https://ISSUER.example', `${ISSUER}:443`]) {
      await expect(person.login(server, { issuer })).rejects.toThrow('is incompatible with')
    }
    expect(person.requests).toHaveLength(0)
  })

  it('G23: a server that announces nothing is an error', async () => {
    await using server = await scriptedServer(async (peer) => {
      await peer.askToken()
      await peer.refuse('{"status":"invalid_token"}')
    })
    const person = new Person()
    await expect(person.login(server)).rejects.toThrow('no discovery metadata was provided')
    expect(person.requests).toHaveLength(0)
  })

  it('E6: is refused for a host that is not allowed, before anything is opened', async () => {
    await using server = await scriptedServer(honest(() => true))
    for (const allowedHosts of [[], ['db.example'], ['*.0.0.1x']]) {
      const person = new Person(undefined, { allowedHosts })
      const parameters = { options: '-c host=db.example', application_name: 'db.example' }
      await expect(person.login(server, { parameters })).rejects.toBeInstanceOf(TokenConfigError)
      expect(person.requests).toHaveLength(0)
    }
    expect(server.accepted).toBe(0)
    const person = new Person(undefined, { allowedHosts: ['127.0.0.1'] })
    await person.login(server)
  })

  it('E8: without a client id, the person is asked with none, and the login goes on', async () => {
    await using server = await scriptedServer(honest((token) => token === 't1'))
    const person = new Person()
    await person.login(server)
    expect(person.requests).toHaveLength(1)
    expect(person.requests[0]).toHaveProperty('clientId', undefined)
    expect(exchanges(server)).toEqual(['', 't1'])
  })

  it('E8: a client id is the user’s, and nothing that the server says is one', async () => {
    const names = ['client_id', 'client-id', 'clientId', 'oauth_client_id']
    const challenge = REFUSAL.replace(
      '{',
      `{ ${names.map((name) => `"${name}":"evil"`).join(',')},`,
    )
    await using server = await scriptedServer(async (peer) => {
      if ((await peer.askToken()) === '') {
        await peer.refuse(challenge)
        return
      }
      peer.welcome()
    })
    const person = new Person()
    await person.login(server)
    await person.login(server, { clientId: 'cli' })
    expect(person.requests.map(({ clientId }) => clientId)).toEqual([undefined, 'cli'])
    expect(JSON.stringify(person.requests)).not.toContain('evil')
  })

  it('E8: a source that cannot do without one says so', async () => {
    await using server = await scriptedServer(honest(() => true))
    for (const source of [sources.deviceFlow({ prompt() {} }), sources.authorizationCode({})]) {
      const { host, port } = server
      const options = { host, port, user: 'ann', tls: false, insecure: 'loopback-only' } as const
      const login = connectOAuth({ ...options, issuer: ISSUER, token: source })
      await expect(login).rejects.toThrow('client id')
    }
    expect(exchanges(server)).toEqual(['', ''])
  })

  it('E9: has five minutes', async () => {
    await using server = await scriptedServer(honest(() => true))
    const person = new Person()
    await person.login(server)
    expect(person.requests[0]).toMatchObject({ version: 1 })
    const left = (person.requests[0]?.deadline ?? 0) - person.clock.now()
    expect(left).toBeGreaterThan(299_000)
    expect(left).toBeLessThanOrEqual(300_000)
  })

  it('E10: fails when no token comes of it', async () => {
    await using server = await scriptedServer(honest(() => true))
    const person = new Person(() => ({}) as never)
    await expect(person.login(server)).rejects.toBeInstanceOf(TokenCallbackError)
    expect(exchanges(server)).toEqual([''])
  })

  it('E11, E14, E16: the second call gets the refresh token of the first', async () => {
    const valid = new Set(['t1'])
    await using server = await scriptedServer(honest((token) => valid.has(token)))
    const person = new Person((n) => credential(`t${n}`, { refreshToken: `r${n}` }))
    await person.login(server)
    valid.clear()
    valid.add('t2')
    await person.login(server)
    expect(person.requests.map(({ refreshToken }) => refreshToken)).toEqual([undefined, 'r1'])
    expect(person.requests.map(({ reason }) => reason)).toEqual(['initial', 'rejected'])
    expect(exchanges(server)).toEqual(['', 't1', 't1', 't2'])
  })

  it('E12: a held token needs no discovery connection', async () => {
    await using server = await scriptedServer(honest(() => true))
    const person = new Person()
    await person.login(server)
    await person.login(server)
    expect(exchanges(server)).toEqual(['', 't1', 't1'])
    expect(person.requests).toHaveLength(1)
  })

  it('E15: without a refresh token the person is asked again', async () => {
    const valid = new Set(['t1'])
    await using server = await scriptedServer(honest((token) => valid.has(token)))
    const person = new Person()
    await person.login(server)
    valid.clear()
    valid.add('t2')
    await person.login(server)
    expect(person.requests[1]?.refreshToken).toBeUndefined()
    expect(person.requests).toHaveLength(2)
  })

  it('E17, E18: where all is refused the person is asked three times in all, the last time anew', async () => {
    await using server = await scriptedServer(
      honest((token, index) => token === 't1' && index === 1),
    )
    const person = new Person((n) => credential(`t${n}`, { refreshToken: `r${n}` }))
    await person.login(server)
    await expect(person.login(server)).rejects.toBeInstanceOf(TokenRejectedError)
    expect(person.requests.map(({ refreshToken }) => refreshToken)).toEqual([
      undefined,
      'r1',
      undefined,
    ])
    expect(exchanges(server)).toEqual(['', 't1', 't1', 't2', 't3'])
  })

  it('E19, I9: a server that announces another place than before is refused', async () => {
    const other = `${ISSUER}/.well-known/oauth-authorization-server`
    await using server = await scriptedServer(async (peer, index) => {
      const token = await peer.askToken()
      if (index === 1 && token !== '') {
        peer.welcome()
        return
      }
      await peer.refuse(index === 0 ? REFUSAL : REFUSAL.replace(DISCOVERY_URL, other))
    })
    const person = new Person()
    await person.login(server)
    await expect(person.login(server)).rejects.toThrow('has moved to')
    person.provider.clear()
    await expect(person.login(server)).rejects.toThrow('has moved to')
    expect(person.requests).toHaveLength(1)
  })

  it('G22: the scope is the user’s, else the server’s, else none', async () => {
    await using server = await scriptedServer(honest(() => true))
    const person = new Person()
    await person.login(server, { scope: 'mine' })
    await person.login(server, { scope: '' })
    await person.login(server)
    await using silent = await scriptedServer(async (peer) => {
      const token = await peer.askToken()
      if (token !== '') {
        peer.welcome()
        return
      }
      const challenge = { status: 'invalid_token', 'openid-configuration': DISCOVERY_URL }
      await peer.refuse(JSON.stringify(challenge))
    })
    await person.login(silent)
    expect(person.requests.map(({ scope }) => scope)).toEqual(['mine', '', 'openid db', undefined])
  })

  it('G10: a server that asks for nothing makes nobody log in', async () => {
    await using server = await scriptedServer((peer) => peer.welcome())
    const person = new Person()
    await expect(person.login(server)).rejects.toBeInstanceOf(OAuthProtocolError)
    await person.login(server, { requireAuth: 'oauth,none' })
    expect(person.requests).toHaveLength(0)
  })

  it('C24: a provider has its options from when it was made', async () => {
    await using server = await scriptedServer(honest(() => true))
    const person = new Person()
    await expect(person.login(server, { provider: { allowedHosts: [] } })).rejects.toBeInstanceOf(
      TokenConfigError,
    )
  })
})

describe('the allowed hosts', () => {
  it.each([
    ['a.example.com', '*.example.com'],
    ['a.b.example.com', '*.example.com'],
    ['A.Example.COM', '*.example.com'],
    ['db.example.com', 'DB.example.com'],
    ['db.example.com.', 'db.example.com'],
    ['::1', '[::1]'],
    ['127.0.0.1', '127.0.0.1'],
    ['/var/run/postgresql', '/var/run/postgresql'],
  ])('E20: %s is allowed by %s', (host, pattern) => {
    expect(isAllowedHost(host, [pattern])).toBe(true)
  })

  it.each([
    ['example.com', '*.example.com'],
    ['evilexample.com', '*.example.com'],
    ['.example.com', '*.example.com'],
    ['example.com.evil.com', '*.example.com'],
    ['a.example.com', 'example.com'],
    ['a.example.com', '*'],
    ['127.0.0.2', '127.0.0.1'],
    ['a.example.com', ''],
  ])('E20: %s is not allowed by %s', (host, pattern) => {
    expect(isAllowedHost(host, [pattern])).toBe(false)
  })
})
