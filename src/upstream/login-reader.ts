/** What the server says until the session is ready, one bounded message at a time. @module */
import { Buffer } from 'node:buffer'
import { MAX_LIBPQ_AUTH_MESSAGE_LENGTH } from '../protocol/limits.ts'
import type { Transport } from './transport.ts'
import { loginError, UpstreamRefusedError } from './errors.ts'

/** libpq's MAX_ERRLEN, which also bounds the other short messages (VALID_LONG_MESSAGE_TYPE). */
const MAX_MESSAGE_LENGTH = 30_000

/** All that a server may send before it is ready. */
const MAX_LOGIN_BYTES = 1024 * 1024

/** A message and the bytes it came as. */
export interface RawMessage {
  readonly type: string
  readonly body: Buffer
  readonly bytes: Buffer
}

/** Reads messages whole. Nothing behind the last one that was asked for leaves the source. */
export class LoginReader {
  readonly #transport: Transport
  #total = 0
  #notices: Buffer[] = []
  #isAuthenticated = false
  #token: string | undefined

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** From now on notices may come, and a refusal is one of the session. */
  authenticated(): void {
    this.#isAuthenticated = true
  }

  /** From now on an error that repeats the token is not passed on: client and log would read it. */
  tokenSent(token: string): void {
    this.#token = token
  }

  /**
   * The next message.
   *
   * @throws {UpstreamRefusedError} for an ErrorResponse.
   * @throws {UpstreamError} where the server closes, or sends what cannot be at this point.
   */
  async next(): Promise<RawMessage> {
    const head = this.#transport.source.takeBuffered(5) ?? (await this.#read(5))
    const type = head.toString('latin1', 0, 1)
    const length = head.readUInt32BE(1)
    const longest = type === 'R' ? MAX_LIBPQ_AUTH_MESSAGE_LENGTH : MAX_MESSAGE_LENGTH
    if (length < 4 || length > longest) {
      throw loginError('protocol_violation', `invalid length of message ${shown(type)}`)
    }
    this.#total += 1 + length
    if (this.#total > MAX_LOGIN_BYTES) {
      throw loginError('protocol_violation', 'the server sent too much before it was ready')
    }
    const rest = length - 4
    const body = this.#transport.source.takeBuffered(rest) ?? (await this.#read(rest))
    const message = { type, body, bytes: Buffer.concat([head, body]) }
    if (type === 'N') {
      this.#notices.push(message.bytes)
    }
    if (type === 'E') {
      const bytes = Buffer.concat([...this.#notices, message.bytes])
      throw this.#refused(body, bytes)
    }
    return message
  }

  #refused(body: Buffer, bytes: Buffer): Error {
    const token = this.#token
    if (token !== undefined && repeats(bytes, token)) {
      return loginError('protocol_violation', 'the server repeats the token in an error')
    }
    return new UpstreamRefusedError(body, bytes, !this.#isAuthenticated, token !== undefined)
  }

  async #read(size: number): Promise<Buffer> {
    const bytes = await this.#transport.source.readExactly(size)
    if (bytes === undefined) {
      const failure = this.#transport.failure()
      throw loginError(
        'closed',
        `server closed the connection unexpectedly${failure ? `: ${failure.message}` : ''}`,
        failure,
      )
    }
    return bytes
  }
}

/** Shorter parts of a token say nothing. */
const MIN_TOKEN_PART = 16

function repeats(bytes: Buffer, token: string): boolean {
  const parts = token.split('.').filter((part) => part.length >= MIN_TOKEN_PART)
  return [token, ...parts].some((part) => bytes.includes(part, 0, 'latin1'))
}

/** For messages that cannot be at this point. */
export function unexpectedMessage({ type }: RawMessage, expected: string): Error {
  return loginError('protocol_violation', `expected ${expected}, but received ${shown(type)}`)
}

function shown(type: string): string {
  return /^[A-Za-z0-9]$/.test(type)
    ? `"${type}"`
    : `0x${Buffer.from(type, 'latin1').toString('hex')}`
}
