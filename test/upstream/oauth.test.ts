/** OAUTHBEARER with servers that keep to RFC 7628, and with servers that are after the token. */
import { Buffer } from 'node:buffer'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { fromText } from '../../src/byte-string.ts'
import { UpstreamError } from '../../src/errors.ts'
import { authenticate } from '../../src/upstream/authenticate.ts'
import {
  type BearerCredential,
  hiddenCredential,
  type UpstreamCredential,
} from '../../src/upstream/credential.ts'
import { UpstreamRefusedError } from '../../src/upstream/errors.ts'
import { LoginReader } from '../../src/upstream/login-reader.ts'
import type { SslMode, UpstreamSettings } from '../../src/upstream/settings.ts'
import { isTrustedTls, openPlain } from '../../src/upstream/transport.ts'
import { connectUpstream, type UpstreamOptions } from '../../src/upstream/connect-upstream.ts'
import { silentLog } from '../../src/log.ts'
import {
  AUTHENTICATION_OK,
  message,
  messageTypes,
  READY,
  type ScriptedPeer,
  scriptedServer,
  startup,
  upstreamSettings,
} from './support.ts'

const TOKEN =
  'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSIsInNjb3BlIjoiZGIifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg'
const OFFER = message('R', 10, 'OAUTHBEARER\0', '\0')
const CHALLENGE = message('R', 11, '{ "status": "invalid_token", "scope": "db" }')
const KVSEP = Buffer.from([0x70, 0, 0, 0, 5, 1])
const REFUSAL = message(
  'E',
  'SFATAL\0VFATAL\0C28000\0MOAuth bearer authentication failed for user "alice"\0\0',
)

type Script = (peer: ScriptedPeer, connection: number) => Promise<void> | void
type Change = Partial<UpstreamSettings> & Partial<Pick<UpstreamOptions, 'credential' | 'signal'>>

const bearerOf = (token: string): BearerCredential =>
  hiddenCredential({ bearerToken: async () => token })

interface Outcome {
  readonly error: unknown
  /** Every byte that the server was sent behind the startup packets. */
  readonly sent: string
  readonly connections: number
}

/** Logs in to a server that does what `script` says. Nothing may be left open. */
async function logIn(
  script: Script,
  bearer: BearerCredential | 'none' = bearerOf(TOKEN),
  { credential, signal = new AbortController().signal, ...change }: Change = {},
): Promise<Outcome> {
  const sent: Buffer[] = []
  await using server = await scriptedServer(async (peer, connection) => {
    await peer.readStartup()
    const read = peer.readMessage.bind(peer)
    peer.readMessage = async () => {
      const bytes = await read()
      sent.push(bytes)
      return bytes
    }
    await script(peer, connection)
    // What the client still sends counts as sent.
    for (;;) {
      await peer.readMessage()
    }
  })
  let error: unknown
  try {
    const settings = upstreamSettings({ port: server.port, ...change })
    const options = {
      credential,
      bearer: bearer === 'none' ? undefined : bearer,
      signal,
      log: silentLog,
    }
    const { socket } = await connectUpstream(settings, startup('alice'), options)
    socket.destroy()
  } catch (caught) {
    error = caught
  }
  await server.untilIdle()
  const connections = server.accepted()
  return { error, sent: Buffer.concat(sent).toString('latin1'), connections }
}

/** Says `parts` at once and goes. */
const says =
  (...parts: readonly (string | Uint8Array)[]): Script =>
  (peer) =>
    peer.write(...parts)

/** Asks for a token, and says `parts` when it is there. */
const answers =
  (...parts: readonly (string | Uint8Array)[]): Script =>
  async (peer) => {
    peer.write(OFFER)
    await peer.readMessage()
    peer.write(...parts)
  }

/** Refuses the token by the book. */
const refuses: Script = async (peer) => {
  peer.write(OFFER)
  await peer.readMessage()
  peer.write(CHALLENGE)
  await peer.readMessage()
  peer.write(REFUSAL)
}

function expectReason({ error }: Outcome, reason: string): void {
  expect(error).toBeInstanceOf(UpstreamError)
  expect(error).toMatchObject({ reason, message: 'could not log in to the database server' })
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(TOKEN.slice(-16))
}

describe('a server that offers OAUTHBEARER', () => {
  test('gets the token in the first message, and lets the role in', async () => {
    const outcome = await logIn(answers(AUTHENTICATION_OK, READY))
    expect(outcome.error).toBeUndefined()
    const data = `n,,\u0001auth=Bearer ${TOKEN}\u0001\u0001`
    expect(outcome.sent).toBe(message('p', 'OAUTHBEARER\0', data.length, data).toString('latin1'))
  })

  test('asks nobody for a token before it has offered', async () => {
    let asked = 0
    const counting: BearerCredential = {
      bearerToken: async () => {
        asked += 1
        return TOKEN
      },
    }
    await logIn(says(AUTHENTICATION_OK, READY), counting)
    await logIn(says(message('R', 3)), counting)
    expect(asked).toBe(0)
  })

  test('refuses with its own bytes, once it has been sent the kvsep', async () => {
    const { error, sent, connections } = await logIn(refuses)
    expect(error).toBeInstanceOf(UpstreamRefusedError)
    expect(error).toMatchObject({ sqlState: '28000', tokenWasSent: true })
    expect((error as UpstreamRefusedError).bytes).toEqual(REFUSAL)
    expect(sent.endsWith(KVSEP.toString('latin1'))).toBe(true)
    expect(connections).toBe(1)
  })

  test('may send notices before its error, which go on with it', async () => {
    const notice = message('N', 'SNOTICE\0Mtry later\0\0')
    const { error } = await logIn(async (peer) => {
      peer.write(OFFER)
      await peer.readMessage()
      peer.write(CHALLENGE, notice, REFUSAL)
    })
    expect(messageTypes((error as UpstreamRefusedError).bytes)).toBe('NE')
  })

  test('that refuses does not get the token a second time over another encryption', async () => {
    for (const sslmode of ['allow', 'prefer'] as const) {
      const { error, sent, connections } = await logIn(
        async (peer, connection) => {
          // With prefer the first packet is SSLRequest: no TLS here.
          if (sslmode === 'prefer') {
            peer.write('N')
            await peer.readStartup()
          }
          await refuses(peer, connection)
        },
        bearerOf(TOKEN),
        { sslmode },
      )
      expect(error).toBeInstanceOf(UpstreamRefusedError)
      expect(sent.split(TOKEN)).toHaveLength(2)
      expect(connections).toBe(1)
    }
  })

  test('may refuse before it has seen the token', async () => {
    const { error, sent } = await logIn(says(REFUSAL))
    expect(error).toMatchObject({ beforeAuthenticationOk: true, tokenWasSent: false })
    expect(sent).toBe('')
  })
})

describe('a token that was kept', () => {
  const TOKENS = [`${TOKEN}1`, `${TOKEN}2`, `${TOKEN}3`]

  function kept(refused: (token: string) => boolean): BearerCredential {
    let next = 0
    return { bearerToken: async () => TOKENS[next++] ?? '', refused }
  }

  test('is replaced once when the server refuses it', async () => {
    const told: string[] = []
    const { error, sent, connections } = await logIn(
      async (peer, connection) =>
        connection === 1
          ? refuses(peer, connection)
          : answers(AUTHENTICATION_OK, READY)(peer, connection),
      kept((token) => {
        told.push(token)
        return true
      }),
    )
    expect(error).toBeUndefined()
    expect(told).toEqual([TOKENS[0]])
    expect(connections).toBe(2)
    expect(sent).toContain(`${TOKENS[1]}\u0001`)
  })

  test('is replaced only once', async () => {
    const { error, connections } = await logIn(
      refuses,
      kept(() => true),
    )
    expect(error).toBeInstanceOf(UpstreamRefusedError)
    expect((error as UpstreamRefusedError).bytes).toEqual(REFUSAL)
    expect(connections).toBe(2)
  })

  test('is not replaced where it was new', async () => {
    const { connections } = await logIn(
      refuses,
      kept(() => false),
    )
    expect(connections).toBe(1)
  })

  test.each([
    ['another status', '{ "status": "insufficient_scope" }'],
    ['no JSON', 'invalid_token'],
    ['null', 'null'],
    ['nothing', ''],
  ])('is not replaced when the challenge holds %s', async (_what, json) => {
    const { error, connections } = await logIn(
      answers(message('R', 11, json), REFUSAL),
      kept(() => true),
    )
    expect(error).toBeInstanceOf(UpstreamRefusedError)
    expect(connections).toBe(1)
  })
})

describe('a poisoned server gets no session', () => {
  test.each<[string, readonly (string | Uint8Array)[]]>([
    ['a welcome behind the challenge', [CHALLENGE, AUTHENTICATION_OK, READY]],
    ['a second challenge', [CHALLENGE, CHALLENGE, REFUSAL]],
    ['an offer behind the challenge', [CHALLENGE, OFFER]],
    ['a request for a password behind the challenge', [CHALLENGE, message('R', 3)]],
    ['a session behind the challenge', [CHALLENGE, READY]],
    ['additional data', [message('R', 12, 'v=x'), AUTHENTICATION_OK, READY]],
    ['a second offer', [OFFER]],
    ['a request for a password', [message('R', 3)]],
    ['a welcome with more in it', [message('R', 0, 'x'), READY]],
    ['a notice before the answer', [message('N', 'SNOTICE\0\0'), AUTHENTICATION_OK, READY]],
    ['a session without a welcome', [READY]],
  ])('by %s', async (_what, parts) => {
    const outcome = await logIn(answers(...parts))
    expectReason(outcome, 'protocol_violation')
    expect(outcome.connections).toBe(1)
  })

  test('by silence', async () => {
    const { error } = await logIn(
      async (peer) => {
        peer.write(OFFER)
        await peer.readMessage()
        await peer.untilGone()
      },
      bearerOf(TOKEN),
      { connectTimeoutMs: 100 },
    )
    expect(error).toMatchObject({ reason: 'connect_timeout' })
  })

  test('by leaving behind the challenge', async () => {
    expectReason(
      await logIn(async (peer) => {
        peer.write(OFFER)
        await peer.readMessage()
        peer.socket.end(CHALLENGE)
      }),
      'closed',
    )
  })

  test.each([
    ['whole', TOKEN],
    ['in part', `signature ${TOKEN.split('.')[2]} is wrong`],
  ])('and its error does not reach anybody when it repeats the token %s', async (_how, text) => {
    const echo = message('E', `SFATAL\0C28000\0M${text}\0\0`)
    for (const parts of [
      [CHALLENGE, echo],
      [echo],
      [CHALLENGE, message('N', `SNOTICE\0M${text}\0\0`), REFUSAL],
      [AUTHENTICATION_OK, echo],
    ]) {
      expectReason(await logIn(answers(...parts)), 'protocol_violation')
    }
  })
})

describe('a poisoned server gets no token', () => {
  test.each<[string, Uint8Array, string]>([
    ['a cleartext password', message('R', 3), 'no_credential'],
    ['an MD5 password', message('R', 5, 'salt'), 'no_credential'],
    ['SCRAM', message('R', 10, 'SCRAM-SHA-256\0\0'), 'no_credential'],
    ['another mechanism', message('R', 10, 'OAUTHBEARER2\0\0'), 'method_not_supported'],
    ['a mechanism in small letters', message('R', 10, 'oauthbearer\0\0'), 'method_not_supported'],
    ['XOAUTH2', message('R', 10, 'XOAUTH2\0\0'), 'method_not_supported'],
    ['GSSAPI', message('R', 7), 'method_not_supported'],
    ['a challenge without an offer', CHALLENGE, 'method_not_supported'],
  ])('by asking for %s', async (_what, request, reason) => {
    const outcome = await logIn(says(request))
    expectReason(outcome, reason)
    expect(outcome.sent).toBe('')
  })

  test('by asking for a cleartext password where the role has one', async () => {
    const { sent } = await logIn(answersPassword, bearerOf(TOKEN), {
      credential: { password: 'of-the-role' },
    })
    expect(sent).toContain('of-the-role')
    expect(sent).not.toContain(TOKEN.slice(-16))
  })

  test('where require_auth does not list oauth', async () => {
    const outcome = await logIn(says(OFFER), bearerOf(TOKEN), { requireAuth: ['scram-sha-256'] })
    expectReason(outcome, 'method_not_allowed')
    expect(outcome.sent).toBe('')
  })

  test('where channel binding is required', async () => {
    const outcome = await logIn(says(OFFER), bearerOf(TOKEN), { channelBinding: 'require' })
    expectReason(outcome, 'channel_binding')
    expect(outcome.sent).toBe('')
  })

  test('where none is configured', async () => {
    const outcome = await logIn(says(OFFER), 'none', { credential: { password: 'x' } })
    expectReason(outcome, 'no_credential')
    expect(outcome.sent).toBe('')
  })
})

const answersPassword: Script = async (peer) => {
  peer.write(message('R', 3))
  await peer.readMessage()
  peer.write(AUTHENTICATION_OK, READY)
}

describe('where a server offers SCRAM and OAUTHBEARER', () => {
  const both =
    (order: string): Script =>
    async (peer) => {
      peer.write(message('R', 10, order, '\0'))
      await peer.readMessage()
      peer.write(REFUSAL)
    }
  const mechanismSent = ({ sent }: Outcome): string => sent.slice(5).split('\0')[0] ?? ''

  test.each(['OAUTHBEARER\0SCRAM-SHA-256\0', 'SCRAM-SHA-256\0OAUTHBEARER\0'])(
    'the role’s password goes first, and without one the token: %j',
    async (order) => {
      const credential: UpstreamCredential = { password: 'x' }
      const withPassword = await logIn(both(order), bearerOf(TOKEN), { credential })
      expect(mechanismSent(withPassword)).toBe('SCRAM-SHA-256')
      expect(withPassword.sent).not.toContain(TOKEN.slice(-16))
      expect(mechanismSent(await logIn(both(order)))).toBe('OAUTHBEARER')
      const oauthOnly = await logIn(both(order), bearerOf(TOKEN), {
        credential,
        requireAuth: ['oauth'],
      })
      expect(mechanismSent(oauthOnly)).toBe('OAUTHBEARER')
    },
  )

  test('the token goes to a server that offers OAUTHBEARER alone, password or not', async () => {
    const outcome = await logIn(answers(AUTHENTICATION_OK, READY), bearerOf(TOKEN), {
      credential: { password: 'x' },
    })
    expect(outcome.error).toBeUndefined()
    expect(mechanismSent(outcome)).toBe('OAUTHBEARER')
  })
})

describe('where the server could be anybody', () => {
  /** As if to another machine; the test itself stays on this one. */
  async function logInAbroad(): Promise<{ error: unknown; sent: Buffer | undefined }> {
    let sent: Buffer | undefined
    await using server = await scriptedServer(async (peer) => {
      peer.write(OFFER)
      sent = await peer.read(1).catch(() => undefined)
    })
    const settings = upstreamSettings({ port: server.port, requireAuth: ['oauth'] })
    const { signal } = new AbortController()
    const opened = await openPlain(settings, signal)
    expect(opened.isTrusted).toBe(true)
    const transport = { ...opened, isTrusted: false }
    const reader = new LoginReader(transport)
    const user = fromText('alice')
    const bearer = {
      bearerToken: async () => {
        throw new TypeError('nobody is asked for a token that cannot be sent')
      },
    }
    const attempt = { settings, transport, reader, user, credential: undefined, bearer, signal }
    const error = await authenticate(attempt, await reader.next()).catch((error: unknown) => error)
    transport.socket.destroy()
    await server.untilIdle()
    return { error, sent }
  }

  test('no token is sent, and no setting allows it', async () => {
    const { error, sent } = await logInAbroad()
    expect(error).toMatchObject({ reason: 'insecure_transport' })
    expect(sent).toBeUndefined()
  })

  test.each<[SslMode, boolean, boolean]>([
    ['verify-full', true, true],
    ['verify-ca', true, true],
    ['verify-full', false, false],
    ['verify-ca', false, false],
    ['require', true, false],
    ['prefer', true, false],
    ['allow', true, false],
  ])('TLS to another machine with sslmode %s, authorized %s: %s', (sslmode, authorized, yes) => {
    expect(isTrustedTls({ sslmode }, '10.0.0.5', authorized)).toBe(yes)
    expect(isTrustedTls({ sslmode }, undefined, authorized)).toBe(yes)
    expect(isTrustedTls({ sslmode }, '127.0.0.1', authorized)).toBe(true)
  })
})

describe('where there is no token', () => {
  test('nothing is sent, and the log has the reason', async () => {
    const outcome = await logIn(says(OFFER), {
      bearerToken: async () => {
        throw new Error('the issuer is down')
      },
    })
    expectReason(outcome, 'token_unavailable')
    expect(outcome.error).toMatchObject({
      logDetail: 'there is no token for role "alice": the issuer is down',
    })
    expect(outcome.error).not.toHaveProperty('cause')
    expect(outcome.sent).toBe('')
  })

  test.each([
    ['empty', ''],
    ['blank', 'a b'],
    ['two lines', 'a\nb'],
    ['another key', 'a\u0001user=root'],
    ['with a NUL', 'a\0b'],
    ['not ASCII', 'tökén'],
    ['padding alone', '='],
    ['too long', 'x'.repeat(65_498)],
  ])('a token that is %s is never sent', async (_what, token) => {
    const outcome = await logIn(says(OFFER), bearerOf(token))
    expectReason(outcome, 'token_unavailable')
    expect(outcome.sent).toBe('')
  })

  test('the longest one fits', async () => {
    const outcome = await logIn(answers(AUTHENTICATION_OK, READY), bearerOf('x'.repeat(65_497)))
    expect(outcome.error).toBeUndefined()
    expect(Buffer.from(outcome.sent, 'latin1').readUInt32BE(1)).toBe(65_535)
  })

  test('and none comes, the wait ends with the login', async () => {
    const controller = new AbortController()
    let asked: AbortSignal | undefined
    const { error } = await logIn(
      says(OFFER),
      {
        bearerToken: ({ signal }) => {
          asked = signal
          controller.abort(new Error('the client has left'))
          return new Promise(() => {})
        },
      },
      { signal: controller.signal },
    )
    expect(error).toMatchObject({ message: 'the client has left' })
    expect(asked?.aborted).toBe(true)
  })
})
