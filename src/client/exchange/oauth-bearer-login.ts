/**
 * The client's side of a login, from the startup packet to AuthenticationOk: messages in, what to do
 * next out. Touches no socket and no callback.
 *
 * ```
 * start ──R(10)──▶ asked ──token──▶ token-sent ──R(0)──▶ done
 *                    │                  └──R(11)──▶ rejected ──E──▶ TokenRejectedError
 *                    └─discovery─▶ discovery-sent ──R(11)──▶ discovered ──E──▶ done
 * ```
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { parseErrorFields } from '../../protocol/error-response.ts'
import { saslInitialResponse, saslResponse } from '../../protocol/frontend-messages.ts'
import { MAX_LIBPQ_AUTH_MESSAGE_LENGTH } from '../../protocol/limits.ts'
import { type Message, encodeMessage } from '../../protocol/message.ts'
import {
  OAuthProtocolError,
  type RejectionChallenge,
  type ServerError,
  ServerRefusedError,
  TokenRejectedError,
} from '../errors.ts'
import { parseErrorChallenge } from './error-challenge.ts'
import { KVSEP, OAUTHBEARER, discoveryResponse, tokenResponse } from './initial-response.ts'
import type { AuthMethod, RequireAuth } from './require-auth.ts'

/** What to do after a message. */
export type LoginStep =
  /** Wait for the next message. */
  | { readonly kind: 'read' }
  /** Call {@link OAuthBearerLogin.sendToken} or {@link OAuthBearerLogin.requestDiscovery}. */
  | { readonly kind: 'token-wanted' }
  /** Send this, then wait for the next message. */
  | { readonly kind: 'send'; readonly bytes: Buffer }
  /** Logged in; what follows is the session's. */
  | { readonly kind: 'authenticated'; readonly method: 'oauth' | 'none' }
  /** The server has said where tokens come from; this connection is over. */
  | { readonly kind: 'discovered'; readonly challenge: RejectionChallenge }

type State =
  | 'start'
  | 'asked'
  | 'token-sent'
  | 'discovery-sent'
  | 'rejected'
  | 'discovered'
  | 'done'

// A server that goes on talking before it lets anybody in is not one.
const MAX_MESSAGES = 100

const READ: LoginStep = { kind: 'read' }

/** Authentication codes that are not OAUTHBEARER's, by the method they stand for. */
const OTHER_METHODS: Readonly<Record<number, readonly [AuthMethod | undefined, string]>> = {
  2: [undefined, 'Kerberos V5'],
  3: ['password', 'a cleartext password'],
  5: ['md5', 'an MD5-hashed password'],
  7: ['gss', 'GSSAPI'],
  9: ['sspi', 'SSPI'],
}

/** One login on one connection. Every method throws a client error when the login is over. */
export class OAuthBearerLogin {
  readonly #allows: RequireAuth
  readonly #preamble: Buffer[] = []
  #state: State = 'start'
  #challenge: Buffer = Buffer.alloc(0)
  #messages = 0

  constructor(allows: RequireAuth) {
    this.#allows = allows
  }

  /** What is being waited for, in words for an error about a lost connection. */
  get step(): string {
    return {
      start: 'waiting for the authentication request',
      asked: 'getting a token',
      'token-sent': 'waiting for the answer to the token',
      'discovery-sent': 'waiting for the discovery response',
      rejected: 'waiting for the error after the token was refused',
      discovered: 'waiting for the end of the discovery exchange',
      done: 'starting the session',
    }[this.#state]
  }

  /** NegotiateProtocolVersion and NoticeResponse messages that came so far, as they came. */
  get preamble(): readonly Buffer[] {
    return this.#preamble
  }

  /** The bytes that offer a token. The caller wipes them once they are written. */
  sendToken(accessToken: string): Buffer {
    this.#assertAsked()
    const data = tokenResponse(accessToken)
    this.#state = 'token-sent'
    const message = saslInitialResponse(OAUTHBEARER, data)
    data.fill(0)
    return message
  }

  /** The bytes that ask where tokens come from. */
  requestDiscovery(): Buffer {
    this.#assertAsked()
    this.#state = 'discovery-sent'
    return saslInitialResponse(OAUTHBEARER, discoveryResponse())
  }

  /** Takes the next message of the server. */
  receive(message: Message): LoginStep {
    this.#messages += 1
    if (this.#messages > MAX_MESSAGES) {
      throw new OAuthProtocolError('server sent too many messages before the login was over')
    }
    if (message.type === 'E') {
      return this.#receiveError(message)
    }
    if (message.type === 'N') {
      this.#preamble.push(encodeMessage('N', message.body))
      return READ
    }
    if (message.type === 'v' && this.#state === 'start') {
      return this.#receiveNegotiation(message)
    }
    if (message.type !== 'R') {
      throw new OAuthProtocolError(
        `server sent an unexpected message of type ${JSON.stringify(message.type)} while ${this.step}`,
      )
    }
    return this.#receiveAuthentication(message.body)
  }

  #receiveNegotiation(message: Message): LoginStep {
    if (this.#preamble.some((earlier) => earlier[0] === 0x76)) {
      throw new OAuthProtocolError('server negotiated the protocol version twice')
    }
    this.#preamble.push(encodeMessage('v', message.body))
    return READ
  }

  #receiveError(message: Message): LoginStep {
    const server = serverError(message.body)
    if (this.#state === 'rejected') {
      throw new TokenRejectedError(parseErrorChallenge(this.#challenge), server)
    }
    if (this.#state === 'discovered') {
      this.#state = 'done'
      return { kind: 'discovered', challenge: parseErrorChallenge(this.#challenge) }
    }
    throw new ServerRefusedError(server)
  }

  #receiveAuthentication(body: Buffer): LoginStep {
    // libpq: a length word of 8 to 2000, which counts itself.
    if (body.length < 4 || body.length + 4 > MAX_LIBPQ_AUTH_MESSAGE_LENGTH) {
      throw new OAuthProtocolError('received invalid authentication request')
    }
    const code = body.readInt32BE(0)
    if (this.#state === 'rejected' || this.#state === 'discovered') {
      // The trap of this protocol: a refusal that is followed by a welcome is no login.
      throw new OAuthProtocolError('server sent additional OAuth data after error')
    }
    switch (code) {
      case 0:
        return this.#receiveOk(body)
      case 10:
        return this.#receiveMechanisms(body.subarray(4))
      case 11:
        return this.#receiveChallenge(body.subarray(4))
      case 12:
        throw new OAuthProtocolError('server sent unexpected additional OAuth data')
      default:
        throw this.#unwanted(code)
    }
  }

  #receiveOk(body: Buffer): LoginStep {
    if (body.length !== 4) {
      throw new OAuthProtocolError('received invalid authentication request')
    }
    if (this.#state === 'token-sent') {
      this.#state = 'done'
      return { kind: 'authenticated', method: 'oauth' }
    }
    if (this.#state !== 'start') {
      throw new OAuthProtocolError(`server ended the authentication while ${this.step}`)
    }
    if (!this.#allows('none')) {
      throw new OAuthProtocolError(
        'authentication method requirement failed: server did not request authentication',
      )
    }
    this.#state = 'done'
    return { kind: 'authenticated', method: 'none' }
  }

  #receiveMechanisms(data: Buffer): LoginStep {
    if (this.#state !== 'start') {
      throw new OAuthProtocolError('duplicate SASL authentication request')
    }
    const mechanisms = mechanismList(data)
    if (!mechanisms.includes(OAUTHBEARER)) {
      throw new OAuthProtocolError(
        "none of the server's SASL authentication mechanisms are supported: OAUTHBEARER is not among them",
      )
    }
    if (!this.#allows('oauth')) {
      throw new OAuthProtocolError(
        'authentication method requirement failed: server requested OAUTHBEARER authentication',
      )
    }
    this.#state = 'asked'
    return { kind: 'token-wanted' }
  }

  #receiveChallenge(data: Buffer): LoginStep {
    if (this.#state !== 'token-sent' && this.#state !== 'discovery-sent') {
      throw new OAuthProtocolError(`server sent a SASL challenge while ${this.step}`)
    }
    this.#state = this.#state === 'token-sent' ? 'rejected' : 'discovered'
    this.#challenge = Buffer.from(data)
    // As libpq does: the server gets its kvsep before anybody looks at what it said.
    return { kind: 'send', bytes: saslResponse(KVSEP) }
  }

  #unwanted(code: number): OAuthProtocolError {
    const [method, text] = OTHER_METHODS[code] ?? [undefined, `authentication method ${code}`]
    const asked = `server asked for ${text}`
    return new OAuthProtocolError(
      this.#state === 'start'
        ? `${asked}${method !== undefined && this.#allows(method) ? ', which this client does not speak' : ', but OAUTHBEARER is required'}`
        : `${asked} while ${this.step}`,
    )
  }

  #assertAsked(): void {
    if (this.#state !== 'asked') {
      throw new TypeError('the server has not asked for a token')
    }
  }
}

// A list of NUL-terminated names that an empty one ends.
function mechanismList(data: Buffer): readonly string[] {
  const names = data.toString('latin1').split('\0')
  const end = names.indexOf('')
  const listed = names.slice(0, end)
  const proper = end >= 0 && end === names.length - 2 && names.at(-1) === ''
  if (!proper || new Set(listed).size !== listed.length) {
    throw new OAuthProtocolError('server sent a malformed list of SASL mechanisms')
  }
  return listed
}

function serverError(body: Buffer): ServerError {
  const fields = parseErrorFields(body)
  return {
    severity: fields.get('V') ?? fields.get('S') ?? 'FATAL',
    sqlState: fields.get('C') ?? 'XX000',
    message: fields.get('M') ?? 'server sent an error without a message',
    detail: fields.get('D'),
    hint: fields.get('H'),
    bytes: encodeMessage('E', body),
  }
}
