import { describe, expect, it } from 'vitest'
import {
  type LoginStep,
  OAuthBearerLogin,
} from '../../../src/client/exchange/oauth-bearer-login.ts'
import { parseRequireAuth } from '../../../src/client/exchange/require-auth.ts'
import {
  OAuthProtocolError,
  ServerRefusedError,
  TokenRejectedError,
} from '../../../src/client/errors.ts'
import {
  authenticationCleartextPassword,
  authenticationOk,
  authenticationSASL,
  authenticationSASLContinue,
  errorResponse,
  negotiateProtocolVersion,
} from '../../../src/protocol/backend-messages.ts'
import { type Message, decodeMessage, encodeMessage, int32 } from '../../../src/protocol/message.ts'

const REFUSAL = '{"status":"invalid_token","scope":"s","openid-configuration":"https://i/x"}'
const ASKS = authenticationSASL(['OAUTHBEARER'])
const FATAL = errorResponse({ severity: 'FATAL', sqlState: '28000', message: 'OAuth failed' })
const challenge = (text = REFUSAL): Buffer => authenticationSASLContinue(Buffer.from(text))
const auth = (code: number, rest: Buffer = Buffer.alloc(0)): Buffer =>
  encodeMessage('R', Buffer.concat([int32(code), rest]))

const message = (bytes: Buffer): Message => decodeMessage(bytes, 1e9)!.message

function started(requireAuth = 'oauth'): OAuthBearerLogin {
  return new OAuthBearerLogin(parseRequireAuth(requireAuth))
}

/** A login that has been asked for a token and has sent one. */
function offered(): OAuthBearerLogin {
  const login = started()
  feed(login, ASKS)
  login.sendToken('secret-token')
  return login
}

function feed(login: OAuthBearerLogin, ...messages: Buffer[]): LoginStep {
  let step: LoginStep = { kind: 'read' }
  for (const bytes of messages) {
    step = login.receive(message(bytes))
  }
  return step
}

describe('an OAUTHBEARER login', () => {
  it('G1: sends the token in a SASLInitialResponse once it is asked', () => {
    const login = started()
    expect(feed(login, ASKS)).toEqual({ kind: 'token-wanted' })
    const bytes = login.sendToken('abc')
    const body = Buffer.from('n,,\x01auth=Bearer abc\x01\x01', 'latin1')
    expect(bytes).toEqual(
      encodeMessage('p', Buffer.concat([Buffer.from('OAUTHBEARER\0'), int32(body.length), body])),
    )
  })

  it('G1: answers the error challenge with one kvsep', () => {
    expect(feed(offered(), challenge())).toEqual({
      kind: 'send',
      bytes: Buffer.from([0x70, 0, 0, 0, 5, 1]),
    })
  })

  it('G2: is logged in by AuthenticationOk, once', () => {
    const login = offered()
    expect(feed(login, authenticationOk())).toEqual({ kind: 'authenticated', method: 'oauth' })
    expect(() => feed(login, authenticationOk())).toThrow(OAuthProtocolError)
  })

  it('G3: takes no AuthenticationSASLFinal', () => {
    expect(() => feed(offered(), auth(12))).toThrow('unexpected additional OAuth data')
    const login = started()
    feed(login, ASKS)
    expect(() => feed(login, auth(12))).toThrow(OAuthProtocolError)
  })

  it('G4: ends a refusal with status, scope, discovery URL and SQLSTATE', () => {
    const error = (() => {
      try {
        return feed(offered(), challenge(), FATAL)
      } catch (thrown) {
        return thrown
      }
    })()
    expect(error).toBeInstanceOf(TokenRejectedError)
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_REJECTED',
      status: 'invalid_token',
      scope: 's',
      discoveryUrl: 'https://i/x',
      sqlState: '28000',
      message: 'OAuth failed',
      server: { bytes: FATAL },
    })
  })

  it('G4: a notice before the error changes nothing', () => {
    const notice = encodeMessage('N', Buffer.from('SNOTICE\0MHello\0\0'))
    expect(() => feed(offered(), challenge(), notice, FATAL)).toThrow(TokenRejectedError)
  })

  it('G5: is never logged in by an AuthenticationOk that follows an error challenge', () => {
    expect(() => feed(offered(), challenge(), authenticationOk())).toThrow(
      'server sent additional OAuth data after error',
    )
    expect(() => feed(offered(), challenge('{"status":"x"}'), authenticationOk())).toThrow(
      OAuthProtocolError,
    )
    expect(() => feed(offered(), challenge('not JSON'), authenticationOk())).toThrow(
      OAuthProtocolError,
    )
    expect(() => feed(offered(), challenge(''), authenticationOk())).toThrow(OAuthProtocolError)
  })

  it('G5: is never logged in by an AuthenticationOk that answers a discovery request', () => {
    const asked = started()
    feed(asked, ASKS)
    asked.requestDiscovery()
    expect(() => feed(asked, authenticationOk())).toThrow('ended the authentication')
    const discovered = started()
    feed(discovered, ASKS)
    discovered.requestDiscovery()
    expect(() => feed(discovered, challenge(), authenticationOk())).toThrow(OAuthProtocolError)
  })

  it('G5: is never logged in before it has answered', () => {
    expect(() => feed(started(), ASKS, authenticationOk())).toThrow(OAuthProtocolError)
    expect(() => feed(started('none,oauth'), ASKS, authenticationOk())).toThrow(OAuthProtocolError)
  })

  it('G6: takes nothing but an error after an error challenge', () => {
    for (const next of [
      challenge(),
      auth(12),
      auth(3),
      ASKS,
      encodeMessage('Z', Buffer.from('I')),
    ]) {
      expect(() => feed(offered(), challenge(), next)).toThrow(OAuthProtocolError)
    }
  })

  it('G7: a refusal that cannot be read is a protocol error', () => {
    for (const text of ['', '{', '[]', '{"status":1}', '{"status":"a","status":"a"}', '\0']) {
      expect(() => feed(offered(), challenge(text), FATAL)).toThrow(OAuthProtocolError)
    }
  })

  it("G7: a challenge may be 1,992 bytes long, as libpq's may, and no longer", () => {
    const padded = (size: number): string => `{"status":"invalid_token"${' '.repeat(size - 26)}}`
    expect(feed(offered(), challenge(padded(1992))).kind).toBe('send')
    expect(() => feed(offered(), challenge(padded(1993)))).toThrow(
      'received invalid authentication request',
    )
  })

  it('G8: a refusal without a status is a protocol error', () => {
    expect(() => feed(offered(), challenge('{}'), FATAL)).toThrow('without a status')
  })

  it('G9: wants a token only from a server that offers OAUTHBEARER', () => {
    for (const mechanisms of [['SCRAM-SHA-256'], ['oauthbearer'], ['OAUTHBEARER-PLUS'], []]) {
      expect(() => feed(started(), authenticationSASL(mechanisms))).toThrow(
        'OAUTHBEARER is not among them',
      )
    }
    const both = authenticationSASL(['SCRAM-SHA-256', 'OAUTHBEARER'])
    expect(feed(started(), both).kind).toBe('token-wanted')
  })

  it('G9: refuses a list that is broken', () => {
    for (const text of [
      '',
      'OAUTHBEARER',
      'OAUTHBEARER\0',
      'OAUTHBEARER\0\0x',
      'OAUTHBEARER\0OAUTHBEARER\0\0',
    ]) {
      expect(() => feed(started(), auth(10, Buffer.from(text)))).toThrow('malformed list')
    }
  })

  it('G10: a server that asks for nothing is taken only where the user said so', () => {
    expect(() => feed(started(), authenticationOk())).toThrow(
      'server did not request authentication',
    )
    expect(() => feed(started('!none'), authenticationOk())).toThrow(OAuthProtocolError)
    for (const requireAuth of ['none', 'oauth,none', '!password']) {
      expect(feed(started(requireAuth), authenticationOk())).toEqual({
        kind: 'authenticated',
        method: 'none',
      })
    }
  })

  it('G11: a server that asks for a password instead gets nothing', () => {
    for (const asks of [
      authenticationCleartextPassword(),
      auth(5, int32(7)),
      auth(7),
      auth(9),
      auth(2),
      auth(99),
    ]) {
      const login = started()
      expect(() => feed(login, asks)).toThrow('but OAUTHBEARER is required')
      expect(() => login.sendToken('secret-token')).toThrow(TypeError)
    }
  })

  it('G11: not even after it has offered OAUTHBEARER', () => {
    const login = started()
    expect(() => feed(login, ASKS, authenticationCleartextPassword())).toThrow(OAuthProtocolError)
    expect(() => feed(offered(), authenticationCleartextPassword())).toThrow(OAuthProtocolError)
  })

  it('G11: a password that the user accepts is still nothing this client speaks', () => {
    expect(() => feed(started('password,oauth'), authenticationCleartextPassword())).toThrow(
      'which this client does not speak',
    )
  })

  it('G12: does not want a token where the user refuses OAuth', () => {
    for (const requireAuth of ['!oauth', 'scram-sha-256', 'none']) {
      expect(() => feed(started(requireAuth), ASKS)).toThrow(
        'server requested OAUTHBEARER authentication',
      )
    }
  })

  it('G17: an ErrorResponse in place of the first challenge is passed on as it is', () => {
    for (const sqlState of ['28000', '53300', '57P03', '3D000']) {
      const refusal = errorResponse({ severity: 'FATAL', sqlState, message: 'no' })
      const attempt = () => feed(started(), refusal)
      expect(attempt).toThrow(ServerRefusedError)
      try {
        attempt()
      } catch (error) {
        expect(error).toMatchObject({ sqlState, server: { bytes: refusal, severity: 'FATAL' } })
      }
    }
  })

  it('G17: an ErrorResponse in place of the answer to a token says nothing about the token', () => {
    expect(() => feed(offered(), FATAL)).toThrow(ServerRefusedError)
  })

  it('G19: keeps a version negotiation and notices for whoever takes over', () => {
    const negotiation = negotiateProtocolVersion(0x30000, ['_pq_.x'])
    const notice = encodeMessage('N', Buffer.from('SNOTICE\0\0'))
    const login = started()
    expect(feed(login, negotiation, notice)).toEqual({ kind: 'read' })
    feed(login, ASKS)
    login.sendToken('t')
    feed(login, notice, authenticationOk())
    expect(login.preamble).toEqual([negotiation, notice, notice])
  })

  it('G19: takes one version negotiation, before anything else', () => {
    const negotiation = negotiateProtocolVersion(0x30000, [])
    expect(() => feed(started(), negotiation, negotiation)).toThrow('twice')
    expect(() => feed(started(), ASKS, negotiation)).toThrow(OAuthProtocolError)
    expect(() => feed(offered(), challenge(), negotiation)).toThrow(OAuthProtocolError)
  })

  it('G19: does not listen to notices for ever', () => {
    const notices = Array.from({ length: 101 }, () => encodeMessage('N', Buffer.from('\0')))
    expect(() => feed(started(), ...notices)).toThrow('too many messages')
  })

  it('E13: asks for discovery, answers with one kvsep and is told where tokens come from', () => {
    const login = started()
    feed(login, ASKS)
    expect(login.requestDiscovery().toString('latin1')).toContain('n,,\x01auth=\x01\x01')
    expect(feed(login, challenge()).kind).toBe('send')
    expect(feed(login, FATAL)).toEqual({
      kind: 'discovered',
      challenge: { status: 'invalid_token', scope: 's', discoveryUrl: 'https://i/x' },
    })
  })

  it('G18: says what it was waiting for', () => {
    const login = started()
    expect(login.step).toBe('waiting for the authentication request')
    feed(login, ASKS)
    expect(login.step).toBe('getting a token')
    login.sendToken('t')
    expect(login.step).toBe('waiting for the answer to the token')
    feed(login, challenge())
    expect(login.step).toBe('waiting for the error after the token was refused')
  })

  it('refuses everything that is no part of a login', () => {
    for (const type of ['Z', 'K', 'S', 'D', 'T', 'C', 'A', 'G']) {
      expect(() => feed(started(), encodeMessage(type, Buffer.alloc(4)))).toThrow(
        OAuthProtocolError,
      )
    }
    for (const body of [Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(5)]) {
      expect(() => feed(started('none'), encodeMessage('R', body))).toThrow(OAuthProtocolError)
    }
  })

  it('O1: no error of it holds the token', () => {
    for (const next of [auth(12), auth(3), FATAL, encodeMessage('Z'), auth(0, Buffer.from('x'))]) {
      const login = offered()
      try {
        feed(login, next)
        expect.unreachable()
      } catch (error) {
        expect(String(error) + JSON.stringify(error)).not.toContain('secret-token')
      }
    }
  })
})
