/** What the server says until the session is ready, one bounded message at a time. @module */
import { Buffer } from 'node:buffer'
import { MAX_LIBPQ_AUTH_MESSAGE_LENGTH } from '../protocol/limits.ts'
import type { Transport } from './transport.ts'
import { loginError, UpstreamRefusedError } from './errors.ts'

/** libpq's MAX_ERRLEN, which also bounds the other short messages (VALID_LONG_MESSAGE_TYPE). */
const MAX_MESSAGE_LENGTH = 30_000

/** A type byte and a length word. */
const HEADER_LENGTH = 5

/** All that a server may send before it is ready. */
const MAX_LOGIN_BYTES = 1024 * 1024

/** A message and the bytes it came as. */
export interface RawMessage {
  readonly type: string
  readonly body: Buffer
  readonly bytes: Buffer
}

const NOTHING: Buffer = Buffer.alloc(0)

/** Reads messages whole. What came behind the last one goes back to the source with {@link LoginReader.release}. */
export class LoginReader {
  readonly #transport: Transport
  /** Read, and not yet a message. */
  #pending: Buffer = NOTHING
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

  /** Ends the reading: the rest is for whoever has the source. */
  release(): void {
    this.#transport.source.unread(this.#pending)
    this.#pending = NOTHING
  }

  /**
   * The next message.
   *
   * @throws {UpstreamRefusedError} for an ErrorResponse.
   * @throws {UpstreamError} where the server closes, or sends what cannot be at this point.
   */
  async next(): Promise<RawMessage> {
    for (;;) {
      const message = this.nextBuffered()
      if (message !== undefined) {
        return message
      }
      const more = await this.#read()
      this.#pending = this.#pending.length === 0 ? more : Buffer.concat([this.#pending, more])
    }
  }

  /** As {@link LoginReader.next}; undefined where the message would have to be waited for. */
  nextBuffered(): RawMessage | undefined {
    const pending = this.#pending
    if (pending.length < HEADER_LENGTH) {
      return undefined
    }
    const type = String.fromCharCode(pending[0] ?? 0)
    const size = this.#sizeOf(type, pending.readUInt32BE(1))
    if (pending.length < size) {
      return undefined
    }
    this.#total += size
    const bytes = pending.subarray(0, size)
    const body = pending.subarray(HEADER_LENGTH, size)
    this.#pending = pending.length === size ? NOTHING : pending.subarray(size)
    if (type === 'N') {
      this.#notices.push(bytes)
    }
    if (type === 'E') {
      throw this.#refused(body, Buffer.concat([...this.#notices, bytes]))
    }
    return { type, body, bytes }
  }

  /** Of the whole message, by its length word. */
  #sizeOf(type: string, length: number): number {
    const longest = type === 'R' ? MAX_LIBPQ_AUTH_MESSAGE_LENGTH : MAX_MESSAGE_LENGTH
    if (length < 4 || length > longest) {
      throw loginError('protocol_violation', `invalid length of message ${shown(type)}`)
    }
    if (this.#total + 1 + length > MAX_LOGIN_BYTES) {
      throw loginError('protocol_violation', 'the server sent too much before it was ready')
    }
    return 1 + length
  }

  #refused(body: Buffer, bytes: Buffer): Error {
    const token = this.#token
    if (token !== undefined && repeats(bytes, token)) {
      return loginError('protocol_violation', 'the server repeats the token in an error')
    }
    return new UpstreamRefusedError(body, bytes, !this.#isAuthenticated, token !== undefined)
  }

  async #read(): Promise<Buffer> {
    const bytes = await this.#transport.source.readSome()
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
