import type net from 'node:net'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import {
  type ConnectOAuthOptions,
  OAuthConnectionError,
  OAuthProtocolError,
  ServerRefusedError,
  TokenCallbackError,
  TokenConfigError,
  TokenProvider,
  TokenRejectedError,
  type TokenRequest,
  connectOAuth,
  credential,
  tokenCallback,
} from '../../../src/client/index.ts'
import {
  authenticationCleartextPassword,
  authenticationOk,
  authenticationSASL,
  authenticationSASLContinue,
  errorResponse,
  negotiateProtocolVersion,
} from '../../../src/protocol/backend-messages.ts'
import { encodeMessage, int32 } from '../../../src/protocol/message.ts'
import {
  DISCOVERY_URL,
  ISSUER,
  ONE_ROW,
  READY,
  REFUSAL,
  type Script,
  type ScriptedServer,
  honest,
  scriptedServer,
} from '../support/scripted-server.ts'

const PLAIN = { tls: false, insecure: 'loopback-only', user: 'ann' } as const

/** A callback that counts and names its tokens `t1`, `t2`, … */
function counter(make = (n: number) => `t${n}`): {
  readonly requests: TokenRequest[]
  readonly fn: (request: TokenRequest) => Promise<{ accessToken: string }>
} {
  const requests: TokenRequest[] = []
  return {
    requests,
    fn: async (request) => {
      requests.push(request)
      return credential(make(requests.length))
    },
  }
}

async function login(server: ScriptedServer, options: Partial<ConnectOAuthOptions>): Promise<void> {
  const { socket } = await connectOAuth({
    ...PLAIN,
    host: server.host,
    port: server.port,
    token: counter().fn,
    ...options,
  })
  socket.destroy()
}

const thrownBy = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => error,
  )

const firstChunk = (socket: net.Socket): Promise<Buffer> =>
  new Promise((resolve) => {
    socket.once('data', resolve).resume()
  })

/** The tokens that reached the server, `''` for a discovery request. */
function tokensAt(server: ScriptedServer): string[] {
  return server.peers.flatMap((peer) =>
    peer.received
      .map((bytes) => /auth=(?:Bearer )?([^\x01]*)\x01/.exec(bytes.toString('latin1'))?.[1])
      .filter((token) => token !== undefined),
  )
}

describe('a login of a machine', () => {
  it('D1: calls once and hands over everything behind AuthenticationOk', async () => {
    await using server = await scriptedServer(honest((token) => token === 't1'))
    const { fn, requests } = counter()
    const { socket, startup, token } = await connectOAuth({
      ...PLAIN,
      host: server.host,
      port: server.port,
      token: fn,
      parameters: { application_name: 'x' },
    })
    const bytes = await firstChunk(socket)
    expect(bytes).toEqual(READY)
    expect(startup).toEqual({ authentication: 'oauth', messages: [] })
    expect(token?.accessToken).toBe('t1')
    expect(requests).toHaveLength(1)
    expect(server.peers[0]?.startup.toString('latin1')).toContain(
      'user\0ann\0application_name\0x\0',
    )
    socket.destroy()
  })

  it('D1: sends the startup packet of a proxy’s client as it is', async () => {
    await using server = await scriptedServer(honest(() => true))
    const parameters = Buffer.from('user\0ann\0_pq_.x\0\xff\0\0', 'latin1')
    const head = Buffer.concat([int32(8 + parameters.length), int32(0x30002)])
    const startupPacket = Buffer.concat([head, parameters])
    const { fn, requests } = counter()
    await login(server, { token: fn, startupPacket, database: 'd' })
    expect(server.peers[0]?.startup).toEqual(startupPacket)
    expect(requests[0]).toMatchObject({ username: 'ann', target: { database: 'd' } })
  })

  it('D1: refuses names that could say something else in the packet', async () => {
    await using server = await scriptedServer(honest(() => true))
    for (const options of [
      { user: 'ann\0database\0postgres' },
      { parameters: { application_name: 'x\0user\0postgres' } },
      { parameters: { '': 'x' } },
      { parameters: { options: 'x'.repeat(20_000) } },
    ]) {
      await expect(login(server, options)).rejects.toBeInstanceOf(RangeError)
    }
    expect(server.accepted).toBe(0)
  })

  it('D3: tells the callback about version, role, target, issuer, scope and deadline', async () => {
    await using server = await scriptedServer(honest(() => true))
    const { fn, requests } = counter()
    const before = performance.now()
    await login(server, { token: fn, issuer: ISSUER, scope: 's', clientId: 'c', database: 'd' })
    expect(requests[0]).toMatchObject({
      version: 1,
      username: 'ann',
      issuer: ISSUER,
      scope: 's',
      clientId: 'c',
      reason: 'initial',
      target: { host: server.host, port: server.port, database: 'd' },
    })
    const deadline = requests[0]?.deadline ?? 0
    expect(deadline).toBeGreaterThan(before)
    expect(deadline).toBeLessThanOrEqual(performance.now() + 60_000)
  })

  it('D2: 1,000 concurrent first connections make one call', async () => {
    await using server = await scriptedServer(honest((token) => token === 't1'))
    const { fn, requests } = counter()
    const token = new TokenProvider(fn)
    await Promise.all(Array.from({ length: 1000 }, () => login(server, { token })))
    expect(requests).toHaveLength(1)
    expect(server.peers).toHaveLength(1000)
  })

  it('I1: a callback that answers at once is told the URL, the scope and the issuer of the server', async () => {
    await using server = await scriptedServer(honest((token) => token === 'at-once'))
    const requests: TokenRequest[] = []
    const token = (request: TokenRequest) => {
      requests.push(request)
      return credential('at-once')
    }
    await login(server, { token, issuer: ISSUER, acquire: 'reconnect' })
    expect(tokensAt(server)).toEqual(['', 'at-once'])
    expect(requests).toHaveLength(1)
    expect(requests[0]).toMatchObject({
      issuer: ISSUER,
      discoveryUrl: DISCOVERY_URL,
      scope: 'openid db',
    })
  })

  it('I2: without any callback the error says what is needed', async () => {
    await using server = await scriptedServer(honest(() => true))
    await expect(login(server, { token: undefined as never })).rejects.toThrow(
      'a function, a tokenCallback() or one of the sources is needed',
    )
    expect(server.accepted).toBe(0)
  })

  it('D4, D5, I4, I6: a callback that returns no credential sends nothing', async () => {
    for (const result of [null, undefined, {}, { accessToken: undefined }, 'token', 7]) {
      await using server = await scriptedServer(honest(() => true))
      const error = await thrownBy(login(server, { token: () => result as never }))
      expect(error).toBeInstanceOf(TokenCallbackError)
      expect((error as Error).message).toContain('user-defined OAuth flow failed')
      expect(tokensAt(server)).toEqual([])
    }
  })

  it('I5, I7: the text of a callback that fails is in the error', async () => {
    await using server = await scriptedServer(honest(() => true))
    const token = async () => Promise.reject(new Error('ask the help desk'))
    await expect(login(server, { token })).rejects.toThrow(
      'user-defined OAuth flow failed: ask the help desk',
    )
    expect(tokensAt(server)).toEqual([])
  })

  it('D6: replaces a held token that the server refuses, on a new connection', async () => {
    await using server = await scriptedServer(honest((token) => token === 't1'))
    const { fn, requests } = counter()
    const token = new TokenProvider(fn)
    const target = { host: server.host, port: server.port, database: undefined }
    token.store({ accessToken: 'poisoned' }, { username: 'ann', target })
    await login(server, { token })
    expect(tokensAt(server)).toEqual(['poisoned', 't1'])
    expect(requests).toHaveLength(1)
    expect(requests[0]?.reason).toBe('rejected')
  })

  it('D7, D17, F6: does not replace a token that was not held', async () => {
    await using server = await scriptedServer(honest(() => false))
    const { fn, requests } = counter()
    const error = await thrownBy(login(server, { token: fn }))
    expect(error).toBeInstanceOf(TokenRejectedError)
    expect(error).toMatchObject({
      status: 'invalid_token',
      sqlState: '28000',
      scope: 'openid db',
      discoveryUrl: DISCOVERY_URL,
    })
    expect(requests).toHaveLength(1)
    expect(server.peers).toHaveLength(1)
  })

  it('D7: forgets a fresh token that was refused', async () => {
    await using server = await scriptedServer(honest((token) => token === 't2'))
    const { fn } = counter()
    const token = new TokenProvider(fn)
    await expect(login(server, { token })).rejects.toBeInstanceOf(TokenRejectedError)
    await login(server, { token })
    expect(tokensAt(server)).toEqual(['t1', 't2'])
  })

  it.each([
    ['instead of the question', false],
    ['instead of the answer to the token', true],
  ])('D8: another failure %s leaves the held token alone', async (_when, asks) => {
    for (const sqlState of ['53300', '57P03', '3D000', '28000', '08P01']) {
      await using server = await scriptedServer(async (peer, index) => {
        if (index === 1) {
          if (asks) {
            await peer.askToken()
          }
          peer.fail(sqlState, 'no')
          return
        }
        await honest(() => true)(peer, index)
      })
      const { fn, requests } = counter()
      const token = new TokenProvider(fn)
      const target = { host: server.host, port: server.port, database: undefined }
      const need = { username: 'ann', target }
      await login(server, { token })
      const { credential: held } = await token.get(need)
      const error = await thrownBy(login(server, { token }))
      expect(error).toBeInstanceOf(ServerRefusedError)
      expect(error).toMatchObject({ sqlState })
      // One connection, no second try; and the very same credential is still there.
      expect(server.peers).toHaveLength(2)
      expect(await token.get(need)).toMatchObject({ fromCache: true })
      expect((await token.get(need)).credential).toBe(held)
      await login(server, { token })
      expect(tokensAt(server)).toEqual(asks ? ['t1', 't1', 't1'] : ['t1', 't1'])
      expect(requests).toHaveLength(1)
    }
  })

  it('D8: a failure with an empty cache leaves it empty, or with the token that nobody refused', async () => {
    await using server = await scriptedServer(async (peer, index) => {
      if (index === 0) {
        peer.fail('53300', 'sorry, too many clients already')
        return
      }
      if (index === 1) {
        await peer.askToken()
        peer.fail('57P03', 'the database system is starting up')
        return
      }
      await honest(() => true)(peer, index)
    })
    const { fn, requests } = counter()
    const token = new TokenProvider(fn)
    await expect(login(server, { token })).rejects.toMatchObject({ sqlState: '53300' })
    expect(requests).toHaveLength(0)
    await expect(login(server, { token })).rejects.toMatchObject({ sqlState: '57P03' })
    await login(server, { token })
    expect(tokensAt(server)).toEqual(['t1', 't1'])
    expect(requests).toHaveLength(1)
  })

  it('D9, F1, F2, F3, F4: after the server has ended a session, the next login uses a new token', async () => {
    const valid = new Set(['t1'])
    await using server = await scriptedServer(honest((token) => valid.has(token)))
    const { fn, requests } = counter()
    const token = new TokenProvider(fn)
    const options = { ...PLAIN, host: server.host, port: server.port, token }
    const { socket } = await connectOAuth(options)
    valid.clear()
    valid.add('t2')
    socket.destroy()
    await login(server, { token })
    expect(tokensAt(server)).toEqual(['t1', 't1', 't2'])
    expect(requests.map(({ reason }) => reason)).toEqual(['initial', 'rejected'])
  })

  it('D12: a held token is sent at once: no call, no discovery connection', async () => {
    await using server = await scriptedServer(honest((token) => token === 'held'))
    const { fn, requests } = counter()
    const token = new TokenProvider(tokenCallback(fn, { interactive: true }))
    const target = { host: server.host, port: server.port, database: undefined }
    token.store({ accessToken: 'held' }, { username: 'ann', target, issuer: ISSUER })
    await login(server, { token, issuer: ISSUER })
    expect(tokensAt(server)).toEqual(['held'])
    expect(requests).toHaveLength(0)
  })

  it('D12: once that has expired there is one call, and no discovery connection for it either', async () => {
    const valid = new Set(['held'])
    await using server = await scriptedServer(honest((token) => valid.has(token)))
    const { fn, requests } = counter()
    const token = new TokenProvider(tokenCallback(fn, { interactive: true }))
    const target = { host: server.host, port: server.port, database: undefined }
    token.store({ accessToken: 'held' }, { username: 'ann', target, issuer: ISSUER })
    await login(server, { token, issuer: ISSUER })
    valid.clear()
    valid.add('t1')
    await login(server, { token, issuer: ISSUER })
    expect(tokensAt(server)).toEqual(['held', 'held', 't1'])
    expect(requests).toHaveLength(1)
    // What the refusal announced is what the person is asked by.
    expect(requests[0]).toMatchObject({ reason: 'rejected', discoveryUrl: DISCOVERY_URL })
  })

  it('D15: two calls within one login are at least 100 ms apart', async () => {
    await using server = await scriptedServer(honest((_token, index) => index !== 1))
    const times: number[] = []
    const token = new TokenProvider(async () => {
      times.push(performance.now())
      return credential(`t${times.length}`)
    })
    await login(server, { token })
    await login(server, { token })
    expect(times).toHaveLength(2)
    expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(99)
  })

  it('D16: a second refusal in a row is the end', async () => {
    await using server = await scriptedServer(
      honest((token, index) => index === 0 && token === 't1'),
    )
    const { fn, requests } = counter()
    const token = new TokenProvider(fn)
    await login(server, { token })
    await expect(login(server, { token })).rejects.toBeInstanceOf(TokenRejectedError)
    expect(tokensAt(server)).toEqual(['t1', 't1', 't2'])
    expect(requests).toHaveLength(2)
    expect(token.peek()).toBeUndefined()
  })

  it('D16: nor is there a third try where somebody else has stored another bad token meanwhile', async () => {
    const { fn, requests } = counter()
    const token = new TokenProvider(fn)
    await using server = await scriptedServer(async (peer, index) => {
      await peer.askToken()
      token.store({ accessToken: `bad${index + 1}` }, { username: 'ann', target })
      await peer.refuse(REFUSAL)
    })
    const target = { host: server.host, port: server.port, database: undefined }
    token.store({ accessToken: 'bad0' }, { username: 'ann', target })
    await expect(login(server, { token })).rejects.toBeInstanceOf(TokenRejectedError)
    expect(tokensAt(server)).toEqual(['bad0', 'bad1'])
    expect(requests).toHaveLength(0)
  })

  it('D18: another status than invalid_token is not tried again and forgets nothing', async () => {
    for (const status of ['insufficient_scope', 'invalid_request', 'INVALID_TOKEN']) {
      await using server = await scriptedServer(async (peer, index) => {
        if (index === 0) {
          await honest(() => true)(peer, index)
          return
        }
        await peer.askToken()
        await peer.refuse(JSON.stringify({ status }))
      })
      const { fn, requests } = counter()
      const token = new TokenProvider(fn)
      await login(server, { token })
      const error = await thrownBy(login(server, { token }))
      expect(error).toMatchObject({ status })
      expect((error as Error).message).toContain(`server rejected OAuth bearer token: ${status}`)
      expect(requests).toHaveLength(1)
      expect(token.peek()?.accessToken).toBe('t1')
      expect(server.peers).toHaveLength(2)
    }
  })

  it('F5: a connection that is cut after the login says nothing about the token', async () => {
    await using server = await scriptedServer(async (peer, index) => {
      if (index === 0) {
        await peer.askToken()
        peer.welcome()
        peer.socket.destroy()
        return
      }
      await honest((token) => token === 't2')(peer, index)
    })
    const { fn, requests } = counter()
    const token = new TokenProvider(fn)
    await login(server, { token })
    await login(server, { token })
    expect(tokensAt(server)).toEqual(['t1', 't1', 't2'])
    expect(requests).toHaveLength(2)
  })

  it('O1: no error shows the token', async () => {
    const scripts: Script[] = [
      honest(() => false),
      async (peer) => {
        await peer.askToken()
        peer.socket.destroy()
      },
      async (peer) => {
        await peer.askToken()
        peer.send(encodeMessage('R', int32(12)))
      },
      async (peer) => {
        await peer.askToken()
        peer.fail('53300', 'sorry')
      },
    ]
    for (const script of scripts) {
      await using server = await scriptedServer(script)
      const token = new TokenProvider(() => credential('very-secret', { refreshToken: 'r-secret' }))
      const error = await thrownBy(login(server, { token }))
      const shown = inspect(error, { depth: 9, showHidden: true }) + JSON.stringify(error)
      expect(shown).not.toContain('secret')
      expect(tokensAt(server)).toEqual(['very-secret'])
    }
  })
})

describe('a server that misbehaves', () => {
  const cases: [string, Script][] = [
    [
      'G5: welcomes after an error challenge',
      async (peer) => {
        await peer.askToken()
        peer.send(authenticationSASLContinue(Buffer.from(REFUSAL)))
        await peer.read()
        peer.welcome()
      },
    ],
    [
      'G5: welcomes in the same breath as the error challenge',
      async (peer) => {
        await peer.askToken()
        peer.send(authenticationSASLContinue(Buffer.from(REFUSAL)), authenticationOk(), READY)
      },
    ],
    [
      'G3: sends AuthenticationSASLFinal',
      async (peer) => {
        await peer.askToken()
        peer.send(encodeMessage('R', int32(12)), authenticationOk(), READY)
      },
    ],
    ['G10: asks for nothing', (peer) => peer.welcome()],
    ['G11: asks for a cleartext password', (peer) => peer.send(authenticationCleartextPassword())],
    [
      'G11: asks for an MD5 password',
      (peer) => peer.send(encodeMessage('R', Buffer.concat([int32(5), int32(1)]))),
    ],
    ['G9: offers SCRAM only', (peer) => peer.send(authenticationSASL(['SCRAM-SHA-256']))],
    ['sends a message of 1 GB', (peer) => peer.send(Buffer.from([0x52, 0x40, 0, 0, 0]))],
    ['sends a message of negative length', (peer) => peer.send(Buffer.from([0x52, 0, 0, 0, 3]))],
    ['speaks HTTP', (peer) => peer.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ]
  it.each(cases)('%s: no connection comes of it', async (name, script) => {
    await using server = await scriptedServer(script)
    const { fn, requests } = counter()
    await expect(login(server, { token: fn })).rejects.toBeInstanceOf(OAuthProtocolError)
    if (!/^G[35]:/.test(name)) {
      expect(requests).toHaveLength(0)
      expect(tokensAt(server)).toEqual([])
    }
  })

  it.each<[string, Buffer, string]>([
    ['nothing', authenticationSASL([]), 'OAUTHBEARER is not among them'],
    [
      'others only',
      authenticationSASL(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']),
      'OAUTHBEARER is not among them',
    ],
    ['it in other letters', authenticationSASL(['OAuthBearer']), 'OAUTHBEARER is not among them'],
    ['it twice', authenticationSASL(['OAUTHBEARER', 'OAUTHBEARER']), 'malformed list'],
    [
      'another one twice',
      authenticationSASL(['SCRAM-SHA-256', 'OAUTHBEARER', 'SCRAM-SHA-256']),
      'malformed list',
    ],
  ])(
    'G9: a server that offers %s is told nothing, and nobody is asked',
    async (_what, offer, why) => {
      await using server = await scriptedServer(async (peer) => {
        peer.send(offer)
        await peer.read()
      })
      const { fn, requests } = counter()
      const error = await thrownBy(login(server, { token: fn }))
      expect(error).toBeInstanceOf(OAuthProtocolError)
      expect((error as Error).message).toContain(why)
      expect(requests).toHaveLength(0)
      expect(server.peers[0]?.received).toEqual([])
    },
  )

  it('G9: of OAUTHBEARER and SCRAM it is OAUTHBEARER where the user allows that, and nothing else', async () => {
    for (const mechanisms of [
      ['SCRAM-SHA-256', 'OAUTHBEARER'],
      ['OAUTHBEARER', 'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'],
    ]) {
      for (const requireAuth of ['oauth', 'oauth,scram-sha-256', '!scram-sha-256', '!none']) {
        await using server = await scriptedServer(async (peer) => {
          peer.send(authenticationSASL(mechanisms))
          await peer.read()
          peer.welcome()
        })
        await login(server, { requireAuth })
        const [first] = server.peers[0]!.received
        expect(first!.toString('latin1', 5)).toContain('OAUTHBEARER\0')
        expect(server.peers[0]!.received).toHaveLength(1)
      }
      for (const requireAuth of ['scram-sha-256', '!oauth', 'none,scram-sha-256']) {
        await using server = await scriptedServer((peer) =>
          peer.send(authenticationSASL(mechanisms)),
        )
        const { fn, requests } = counter()
        await expect(login(server, { token: fn, requireAuth })).rejects.toBeInstanceOf(
          TokenConfigError,
        )
        expect(requests).toHaveLength(0)
        expect(server.accepted).toBe(0)
      }
    }
  })

  it('G10: a server that asks for nothing is taken where the user said so', async () => {
    await using server = await scriptedServer((peer) => peer.welcome())
    const { fn, requests } = counter()
    const { socket, startup, token } = await connectOAuth({
      ...PLAIN,
      host: server.host,
      port: server.port,
      token: fn,
      requireAuth: 'oauth,none',
    })
    expect(startup.authentication).toBe('none')
    expect(token).toBeUndefined()
    expect(requests).toHaveLength(0)
    socket.destroy()
  })

  it('G12, G13: requirements that OAUTHBEARER cannot meet are refused before anything is opened', async () => {
    await using server = await scriptedServer(honest(() => true))
    for (const options of [
      { requireAuth: '!oauth' },
      { requireAuth: 'scram-sha-256' },
      { requireAuth: 'nonsense' },
      { channelBinding: 'require' },
      { issuer: 'http://i.example' },
      { sslnegotiation: 'direct' },
    ] as const) {
      const { fn, requests } = counter()
      await expect(login(server, { token: fn, ...options })).rejects.toBeInstanceOf(
        TokenConfigError,
      )
      expect(requests).toHaveLength(0)
    }
    expect(server.accepted).toBe(0)
  })

  it('G14: a malformed token is refused here and the server sees none of it', async () => {
    await using server = await scriptedServer(honest(() => true))
    for (const token of ['a b', 'a\u0001b', 'a\nb', '****', 'ü']) {
      await expect(login(server, { token: () => ({ accessToken: token }) })).rejects.toBeInstanceOf(
        TokenCallbackError,
      )
    }
    expect(tokensAt(server)).toEqual([])
  })

  it('G16: a login split at every byte is the same login', async () => {
    const refusal = Buffer.concat([
      authenticationSASLContinue(Buffer.from(REFUSAL)),
      errorResponse({ severity: 'FATAL', sqlState: '28000', message: 'no' }),
    ])
    await using server = await scriptedServer(async (peer) => {
      for (const byte of authenticationSASL(['OAUTHBEARER'])) {
        peer.send(Buffer.from([byte]))
        await new Promise((resolve) => setImmediate(resolve))
      }
      await peer.read()
      for (const byte of refusal) {
        peer.send(Buffer.from([byte]))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
    await expect(login(server, {})).rejects.toMatchObject({
      status: 'invalid_token',
      sqlState: '28000',
    })
  })

  it('G16: bytes in the same chunk as AuthenticationOk are kept for the session', async () => {
    await using server = await scriptedServer(async (peer) => {
      await peer.askToken()
      peer.send(authenticationOk(), READY, ONE_ROW)
    })
    const { socket } = await connectOAuth({
      ...PLAIN,
      host: server.host,
      port: server.port,
      token: counter().fn,
    })
    const bytes = await firstChunk(socket)
    expect(bytes).toEqual(Buffer.concat([READY, ONE_ROW]))
    socket.destroy()
  })

  it('G17: an ErrorResponse before the first challenge is passed on unchanged', async () => {
    const bytes = errorResponse({
      severity: 'FATAL',
      sqlState: '53300',
      message: 'sorry, too many clients already',
      detail: 'D',
      hint: 'H',
    })
    await using server = await scriptedServer((peer) => peer.send(bytes))
    const { fn, requests } = counter()
    const error = await thrownBy(login(server, { token: fn }))
    expect(error).toBeInstanceOf(ServerRefusedError)
    expect(error).toMatchObject({
      message: 'sorry, too many clients already',
      server: { bytes, detail: 'D', hint: 'H' },
    })
    expect(requests).toHaveLength(0)
  })

  it.each<[string, Script, string]>([
    ['before anything', (peer) => void peer.socket.end(), 'waiting for the authentication request'],
    [
      'after the token',
      async (peer) => {
        await peer.askToken()
        peer.socket.end()
      },
      'waiting for the answer to the token',
    ],
    [
      'after the error challenge',
      async (peer) => {
        await peer.askToken()
        peer.send(authenticationSASLContinue(Buffer.from(REFUSAL)))
        peer.socket.end()
      },
      'waiting for the error after the token was refused',
    ],
    [
      'within a message',
      (peer) => {
        peer.send(Buffer.from([0x52, 0, 0]))
        peer.socket.end()
      },
      'waiting for the authentication request',
    ],
  ])('G18: a server that leaves %s is named with the step', async (_when, script, step) => {
    await using server = await scriptedServer(script)
    const error = await thrownBy(login(server, {}))
    expect(error).toBeInstanceOf(OAuthConnectionError)
    expect(error).toMatchObject({ step })
    expect((error as Error).message).toContain(step)
  })

  it.each<[string, Script, string]>([
    [
      'after the discovery request',
      async (peer) => {
        await peer.askToken()
        peer.socket.end()
      },
      'waiting for the discovery response',
    ],
    [
      'after the discovery response',
      async (peer) => {
        await peer.askToken()
        peer.send(authenticationSASLContinue(Buffer.from(REFUSAL)))
        await peer.read()
        peer.socket.end()
      },
      'waiting for the end of the discovery exchange',
    ],
  ])('G18: a server that leaves %s is named with the step', async (_when, script, step) => {
    await using server = await scriptedServer(script)
    const { fn, requests } = counter()
    const error = await thrownBy(login(server, { token: fn, issuer: ISSUER, acquire: 'reconnect' }))
    expect(error).toBeInstanceOf(OAuthConnectionError)
    expect(error).toMatchObject({ step })
    expect(requests).toHaveLength(0)
  })

  it('G18: a server that is not there is named with the step', async () => {
    const server = await scriptedServer(() => {})
    await server[Symbol.asyncDispose]()
    const error = await thrownBy(login(server, {}))
    expect(error).toBeInstanceOf(OAuthConnectionError)
    expect(error).toMatchObject({ step: 'connect' })
  })

  it('G19: hands on the version negotiation and notices', async () => {
    const negotiation = negotiateProtocolVersion(0x30000, ['_pq_.x'])
    const notice = encodeMessage('N', Buffer.from('SWARNING\0Mhello\0\0'))
    await using server = await scriptedServer(async (peer) => {
      peer.send(negotiation)
      await peer.askToken()
      peer.send(notice)
      peer.welcome()
    })
    const { socket, startup } = await connectOAuth({
      ...PLAIN,
      host: server.host,
      port: server.port,
      token: counter().fn,
    })
    expect(startup.messages).toEqual([negotiation, notice])
    socket.destroy()
  })

  it('I3: a callback that hangs does not outlast the connect timeout', async () => {
    await using server = await scriptedServer(honest(() => true))
    let signal: AbortSignal | undefined
    const token = (request: TokenRequest) => {
      signal = request.signal
      return new Promise<never>(() => {})
    }
    const error = await thrownBy(login(server, { token, connectTimeoutMs: 50 }))
    expect(error).toBeInstanceOf(OAuthConnectionError)
    expect(error).toMatchObject({ step: 'timeout' })
    expect(signal?.aborted).toBe(true)
  })

  it('I3: neither does a server that says nothing', async () => {
    await using server = await scriptedServer(() => {})
    await expect(login(server, { connectTimeoutMs: 50 })).rejects.toMatchObject({ step: 'timeout' })
  })

  it('I8: the callback is told to stop when the server leaves while it is at work', async () => {
    await using server = await scriptedServer(async (peer) => {
      peer.send(authenticationSASL(['OAUTHBEARER']))
      setTimeout(() => peer.socket.destroy(), 20)
    })
    let aborts = 0
    const token = ({ signal }: TokenRequest) =>
      new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborts += 1
          reject(new Error('stopped'))
        })
      })
    const error = await thrownBy(login(server, { token }))
    expect(error).toBeInstanceOf(OAuthConnectionError)
    expect(error).toMatchObject({ step: 'getting a token' })
    expect(aborts).toBe(1)
  })

  it('I8: once it has answered, nothing tells the callback to stop, however the login ends', async () => {
    const ends: [Script, boolean][] = [
      [honest(() => true), true],
      [honest(() => false), false],
      [
        async (peer) => {
          await peer.askToken()
          peer.socket.destroy()
        },
        false,
      ],
    ]
    for (const [script, succeeds] of ends) {
      await using server = await scriptedServer(script)
      let aborts = 0
      const token = ({ signal }: TokenRequest) => {
        signal.addEventListener('abort', () => {
          aborts += 1
        })
        return credential('t')
      }
      const outcome = login(server, { token }).then(
        () => true,
        () => false,
      )
      expect(await outcome).toBe(succeeds)
      await new Promise((resolve) => setImmediate(resolve))
      expect(aborts).toBe(0)
    }
  })

  it('I8: what the server says while the callback is at work is not lost', async () => {
    await using server = await scriptedServer(async (peer) => {
      peer.send(authenticationSASL(['OAUTHBEARER']))
      setTimeout(() => peer.fail('57P03', 'the database system is shutting down'), 20)
    })
    const token = () => new Promise<never>(() => {})
    await expect(login(server, { token })).rejects.toMatchObject({ sqlState: '57P03' })
  })

  it('K19, I8: an abort ends the login with its reason, wherever it is', async () => {
    const stages: Script[] = [
      () => {},
      (peer) => peer.send(authenticationSASL(['OAUTHBEARER'])),
      async (peer) => {
        await peer.askToken()
      },
    ]
    for (const script of stages) {
      await using server = await scriptedServer(script)
      const signal = AbortSignal.timeout(50)
      const error = await thrownBy(login(server, { signal }))
      expect(error).toBe(signal.reason)
    }
    await using server = await scriptedServer(() => {})
    const signal = AbortSignal.abort(new Error('before'))
    await expect(login(server, { signal })).rejects.toThrow('before')
    expect(server.accepted).toBe(0)
  })
})
