/**
 * From the first byte to the startup packet: SSLRequest, GSSENCRequest, direct TLS, CancelRequest
 * (`ProcessSSLStartup()` and `ProcessStartupPacket()` in `backend_startup.c`).
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import type net from 'node:net'
import type tls from 'node:tls'
import {
  ProtocolViolationError,
  SilentProtocolViolationError,
  UnsupportedFeatureError,
} from '../errors.ts'
import type { CancelKey } from '../protocol/frontend-messages.ts'
import {
  CANCEL_REQUEST_CODE,
  GSSENC_REQUEST_CODE,
  MAX_STARTUP_PACKET_LENGTH,
  PROTOCOL_3_0,
  SSL_REQUEST_CODE,
} from '../protocol/limits.ts'
import type { ByteSource } from '../stream/byte-source.ts'
import { SocketSource } from '../stream/socket-source.ts'
import { parseCancelRequest } from './cancel-request.ts'
import { ALPN_PROTOCOL } from './tls.ts'

/** The stream to the client once its encryption is settled. */
export interface ClientStream {
  readonly socket: net.Socket | tls.TLSSocket
  readonly source: ByteSource
  /** Set where the stream is encrypted. */
  readonly tls: tls.TLSSocket | undefined
}

/** What a connection turned out to be. `gone`: the client left without a word. */
export type Startup =
  | { readonly kind: 'startup'; readonly stream: ClientStream; readonly payload: Buffer }
  | { readonly kind: 'cancel'; readonly stream: ClientStream; readonly cancelKey: CancelKey }
  | { readonly kind: 'gone' }

export interface NegotiateOptions {
  /** Runs the handshake; undefined where TLS is off, and on Unix sockets. */
  readonly acceptTls: ((raw: net.Socket) => Promise<tls.TLSSocket>) | undefined
  /** Told the stream whenever it changes, so that errors can be written to it. */
  readonly onStream: (stream: ClientStream) => void
}

const TLS_HANDSHAKE_RECORD = 0x16

/**
 * Settles the encryption and reads the startup packet.
 *
 * @throws ReportError: to be told to the client, or not, as its audience says.
 */
export async function negotiateStartup(
  raw: net.Socket,
  options: NegotiateOptions,
): Promise<Startup> {
  const negotiation = new Negotiation(raw, options)
  const first = await negotiation.source.readSome()
  if (first === undefined) {
    return { kind: 'gone' }
  }
  negotiation.source.unread(first)
  if (first[0] === TLS_HANDSHAKE_RECORD) {
    await negotiation.startDirectTls()
  }
  return negotiation.readStartup()
}

class Negotiation {
  readonly #options: NegotiateOptions
  #socket: net.Socket | tls.TLSSocket
  #source: SocketSource
  #tls: tls.TLSSocket | undefined
  #sslDone = false
  #gssDone = false

  constructor(raw: net.Socket, options: NegotiateOptions) {
    this.#options = options
    this.#socket = raw
    this.#source = new SocketSource(raw)
    options.onStream(this.#stream)
  }

  get source(): SocketSource {
    return this.#source
  }

  get #stream(): ClientStream {
    return { socket: this.#socket, source: this.#source, tls: this.#tls }
  }

  async startDirectTls(): Promise<void> {
    if (this.#options.acceptTls === undefined) {
      throw new SilentProtocolViolationError('direct SSL connection rejected')
    }
    const socket = await this.#startTls(this.#options.acceptTls)
    if (socket.alpnProtocol !== ALPN_PROTOCOL) {
      throw new SilentProtocolViolationError(
        'received direct SSL connection request without ALPN protocol negotiation extension',
      )
    }
  }

  async readStartup(): Promise<Startup> {
    while (true) {
      const payload = await this.#readPacket()
      if (payload === undefined) {
        return { kind: 'gone' }
      }
      const code = payload.readUInt32BE(0)
      if (code === CANCEL_REQUEST_CODE) {
        return { kind: 'cancel', stream: this.#stream, cancelKey: parseCancelRequest(payload) }
      }
      if (code === SSL_REQUEST_CODE && !this.#sslDone) {
        await this.#answerSslRequest()
      } else if (code === GSSENC_REQUEST_CODE && !this.#gssDone) {
        this.#gssDone = true
        this.#socket.write('N')
      } else {
        checkProtocolVersion(code)
        return { kind: 'startup', stream: this.#stream, payload }
      }
    }
  }

  async #answerSslRequest(): Promise<void> {
    this.#sslDone = true
    const { acceptTls } = this.#options
    if (acceptTls === undefined || this.#tls !== undefined) {
      this.#socket.write('N')
      return
    }
    if (this.#source.buffered > 0) {
      // CVE-2021-23214: what came before the handshake must never be taken for what came inside it.
      throw new ProtocolViolationError('received unencrypted data after SSL request', {
        detail:
          'This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.',
      })
    }
    this.#gssDone = true
    this.#socket.write('S')
    await this.#startTls(acceptTls)
  }

  async #startTls(acceptTls: (raw: net.Socket) => Promise<tls.TLSSocket>): Promise<tls.TLSSocket> {
    this.#source.detach()
    const socket = await acceptTls(this.#socket)
    this.#socket = socket
    this.#tls = socket
    this.#source = new SocketSource(socket)
    this.#options.onStream(this.#stream)
    return socket
  }

  /** One packet without its length word; undefined where the client left instead. */
  async #readPacket(): Promise<Buffer | undefined> {
    const header = await this.#source.readExactly(4)
    if (header === undefined) {
      if (this.#source.buffered > 0 && !this.#sslDone && !this.#gssDone) {
        throw new SilentProtocolViolationError('incomplete startup packet')
      }
      return undefined
    }
    const length = header.readUInt32BE(0) - 4
    if (length < 4 || length > MAX_STARTUP_PACKET_LENGTH) {
      throw new SilentProtocolViolationError('invalid length of startup packet')
    }
    const payload = await this.#source.readExactly(length)
    if (payload === undefined) {
      throw new SilentProtocolViolationError('incomplete startup packet')
    }
    return Buffer.from(payload)
  }
}

function checkProtocolVersion(code: number): void {
  const major = code >>> 16
  if (major !== PROTOCOL_3_0 >>> 16) {
    throw new UnsupportedProtocolError(major, code & 0xffff)
  }
}

/** Major versions before 3 are told so in the shape they know. */
export class UnsupportedProtocolError extends UnsupportedFeatureError {
  readonly beforeVersion3: boolean

  constructor(major: number, minor: number) {
    super(`unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.2`)
    // For send_message_to_frontend() in elog.c, 0.0 is a version not known yet.
    this.beforeVersion3 = major < 3 && major + minor > 0
  }
}
