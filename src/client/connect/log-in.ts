/**
 * One login on one open connection.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import type { Duplex } from 'node:stream'
import type { Message } from '../../protocol/message.ts'
import { SocketSource } from '../../stream/socket-source.ts'
import { OAuthConnectionError, OAuthProtocolError, type RejectionChallenge } from '../errors.ts'
import { OAuthBearerLogin } from '../exchange/oauth-bearer-login.ts'
import type { RequireAuth } from '../exchange/require-auth.ts'

// libpq takes an error message over 30000 bytes for a broken one; Authentication messages have their
// own, smaller limit.
const MAX_MESSAGE_LENGTH = 30_000

/**
 * What is said when the server asks for a token: the token, or undefined to ask for discovery. The
 * signal fires when the connection is lost or the login takes too long.
 */
export type OfferToken = (signal: AbortSignal) => Promise<string | undefined>

/** How a login that did not fail ended. */
export type LoginOutcome =
  | {
      readonly kind: 'authenticated'
      readonly method: 'oauth' | 'none'
      /** NegotiateProtocolVersion and NoticeResponses, as they came. */
      readonly preamble: readonly Buffer[]
    }
  | { readonly kind: 'discovered'; readonly challenge: RejectionChallenge }

/**
 * Sends the startup packet and answers until the server says yes or no. When it says yes, everything
 * that follows AuthenticationOk is back in the socket, which is paused.
 *
 * @throws a client error; the socket is the caller's to destroy.
 */
export async function logIn(
  socket: Duplex,
  startupPacket: Uint8Array,
  options: {
    readonly allows: RequireAuth
    readonly offer: OfferToken
    readonly signal: AbortSignal
  },
): Promise<LoginOutcome> {
  const login = new OAuthBearerLogin(options.allows)
  const messages = new MessageReader(socket, login)
  socket.write(startupPacket)
  for (;;) {
    const step = login.receive(await messages.next())
    switch (step.kind) {
      case 'read':
        break
      case 'send':
        socket.write(step.bytes)
        break
      case 'token-wanted': {
        const bytes = await messages.whileConnected(options.signal, async (signal) =>
          answer(login, await options.offer(signal)),
        )
        if (bytes !== undefined) {
          socket.write(bytes, () => bytes.fill(0))
        }
        break
      }
      case 'authenticated':
        messages.detach()
        return { ...step, preamble: login.preamble }
      case 'discovered':
        return step
    }
  }
}

function answer(login: OAuthBearerLogin, token: string | undefined): Buffer {
  return token === undefined ? login.requestDiscovery() : login.sendToken(token)
}

class MessageReader {
  readonly #socket: Duplex
  readonly #source: SocketSource
  readonly #login: OAuthBearerLogin

  constructor(socket: Duplex, login: OAuthBearerLogin) {
    this.#socket = socket
    this.#source = new SocketSource(socket)
    this.#login = login
  }

  async next(): Promise<Message> {
    const head = await this.#source.readExactly(5)
    if (head === undefined) {
      throw this.#closed()
    }
    const length = head.readUInt32BE(1)
    if (length < 4 || length > MAX_MESSAGE_LENGTH) {
      throw new OAuthProtocolError(`received invalid message length while ${this.#login.step}`)
    }
    const body = await this.#source.readExactly(length - 4)
    if (body === undefined) {
      throw this.#closed()
    }
    return { type: String.fromCharCode(head[0] ?? 0), body }
  }

  /**
   * Runs something that takes its time; if the server leaves meanwhile it is told to stop, and what the
   * server said last is what {@link MessageReader.next} finds.
   */
  async whileConnected<Value>(
    outer: AbortSignal,
    run: (signal: AbortSignal) => Promise<Value>,
  ): Promise<Value | undefined> {
    const lost = new AbortController()
    const leave = (): void => lost.abort(this.#closed())
    this.#socket.once('end', leave)
    this.#socket.once('close', leave)
    this.#source.readAhead()
    try {
      return await run(AbortSignal.any([outer, lost.signal]))
    } catch (error) {
      if (!lost.signal.aborted || outer.aborted) {
        throw error
      }
      return undefined
    } finally {
      this.#socket.off('end', leave)
      this.#socket.off('close', leave)
    }
  }

  detach(): void {
    this.#source.detach()
  }

  #closed(): OAuthConnectionError {
    return new OAuthConnectionError(
      `server closed the connection unexpectedly while ${this.#login.step}`,
      { step: this.#login.step },
    )
  }
}
