/**
 * A stream that a driver takes for a connection to a server that asks for no password.
 *
 * The driver's first packet decides: a StartupMessage is sent on over a verified connection, the token
 * exchange is done here, and the driver sees AuthenticationOk and everything after it, byte for byte; a
 * CancelRequest is passed on. The token never passes through the driver.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import type net from 'node:net'
import { Duplex } from 'node:stream'
import { authenticationOk } from '../../protocol/backend-messages.ts'
import {
  CANCEL_REQUEST_CODE,
  GSSENC_REQUEST_CODE,
  MAX_STARTUP_PACKET_LENGTH,
  SSL_REQUEST_CODE,
} from '../../protocol/limits.ts'
import { connectPlanned } from '../connect/connect-oauth.ts'
import type { Endpoint } from '../connect/endpoint.ts'
import type { LoginPlan } from '../connect/options.ts'
import { openTransport } from '../connect/secure-transport.ts'
import {
  OAuthConnectionError,
  OAuthProtocolError,
  ServerRefusedError,
  TokenConfigError,
  TokenRejectedError,
} from '../errors.ts'
import { startupParameters } from './startup-parameters.ts'

type Done = (error?: Error | null) => void

// The type byte of a Terminate message.
const TERMINATE = 0x58

/** One connection of a driver. */
export class OAuthDuplex extends Duplex {
  readonly #plan: LoginPlan
  readonly #stop = new AbortController()
  #endpoints: readonly Endpoint[]
  #packet: Buffer = Buffer.alloc(0)
  #loggingIn = false
  #socket: net.Socket | undefined
  #configure: (socket: net.Socket) => void = () => {}
  #referenced = true

  /** @param endpoints - tried in order until one can be reached; a token is offered to that one only. */
  constructor(plan: LoginPlan, endpoints: readonly Endpoint[] = []) {
    super({ allowHalfOpen: false })
    this.#plan = plan
    this.#endpoints = endpoints
  }

  /** What `pg` calls: says where to, and that the driver may begin. */
  connect(port: number | string, host?: string): this {
    this.#endpoints = [
      typeof port === 'string' && host === undefined
        ? unixEndpoint(port)
        : { host: host ?? 'localhost', port: Number(port) },
    ]
    process.nextTick(() => this.emit('connect'))
    return this
  }

  /** `net.Socket`'s word for it; `postgres` looks at it before it says goodbye. */
  get readyState(): 'open' | 'closed' {
    return this.destroyed ? 'closed' : 'open'
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(enable?: boolean, initialDelay?: number): this {
    this.#configure = (socket) => socket.setKeepAlive(enable, initialDelay)
    if (this.#socket !== undefined) {
      this.#configure(this.#socket)
    }
    return this
  }

  ref(): this {
    this.#referenced = true
    this.#socket?.ref()
    return this
  }

  unref(): this {
    this.#referenced = false
    this.#socket?.unref()
    return this
  }

  override _read(): void {
    this.#socket?.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#socket !== undefined) {
      this.#socket.write(chunk, done)
      return
    }
    done(this.#takeFirst(chunk))
  }

  override _final(done: Done): void {
    if (this.#socket === undefined) {
      this.destroy()
      done()
      return
    }
    if (this.#socket.writable) {
      this.#socket.end(() => done())
    } else {
      done()
    }
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#stop.abort(error ?? new Error('the connection was closed'))
    this.#socket?.destroy()
    done(error)
  }

  /** What the driver says before there is a server to say it to. */
  #takeFirst(chunk: Buffer): Error | null {
    if (this.#loggingIn) {
      if (chunk[0] === TERMINATE) {
        this.destroy()
        return null
      }
      return new OAuthProtocolError('the driver went on before it was logged in')
    }
    this.#packet = Buffer.concat([this.#packet, chunk])
    const length = this.#packet.length < 8 ? undefined : this.#packet.readUInt32BE(0)
    if (length === undefined) {
      return null
    }
    if (length < 8 || length > MAX_STARTUP_PACKET_LENGTH + 4 || this.#packet.length > length) {
      return new OAuthProtocolError('the driver did not begin with a startup packet')
    }
    if (this.#packet.length === length) {
      this.#loggingIn = true
      this.#start(this.#packet).catch((error: unknown) => {
        this.destroy(error instanceof Error ? error : new Error(String(error)))
      })
    }
    return null
  }

  async #start(packet: Buffer): Promise<void> {
    const code = packet.readUInt32BE(4)
    if (code === SSL_REQUEST_CODE || code === GSSENC_REQUEST_CODE) {
      throw new TokenConfigError(
        'encryption must be off in the driver (ssl: false, no sslmode): the token connection does its own TLS',
      )
    }
    if (code === CANCEL_REQUEST_CODE) {
      const timeout = AbortSignal.timeout(this.#plan.connectTimeoutMs)
      const signal = AbortSignal.any([this.#stop.signal, timeout])
      const socket = await this.#firstReachable((endpoint) =>
        openTransport(endpoint, this.#plan, signal),
      )
      this.#relay(socket)
      socket.write(packet)
      return
    }
    try {
      await this.#logIn(packet)
    } catch (error) {
      if (!(error instanceof TokenRejectedError || error instanceof ServerRefusedError)) {
        throw error
      }
      // The driver makes of it what it makes of any refusal.
      this.push(error.server.bytes)
      this.push(null)
    }
  }

  async #logIn(packet: Buffer): Promise<void> {
    const { user, database } = startupParameters(packet)
    const { signal } = this.#stop
    const { socket, startup } = await this.#firstReachable((endpoint) =>
      connectPlanned(this.#plan, { endpoint, user, database, packet, signal }),
    )
    for (const message of startup.messages) {
      this.push(message)
    }
    this.push(authenticationOk())
    this.#relay(socket)
  }

  async #firstReachable<Value>(open: (endpoint: Endpoint) => Promise<Value>): Promise<Value> {
    let last: unknown
    for (const endpoint of this.#endpoints) {
      try {
        return await open(endpoint)
      } catch (error) {
        if (!(error instanceof OAuthConnectionError && error.step === 'connect')) {
          throw error
        }
        last = error
      }
    }
    throw last ?? new TokenConfigError('the driver named no host')
  }

  #relay(socket: net.Socket): void {
    if (this.destroyed) {
      socket.destroy()
      return
    }
    this.#socket = socket
    socket.on('data', (chunk) => {
      if (!this.push(chunk)) {
        socket.pause()
      }
    })
    socket.on('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => {
      // After an end the driver still reads what is buffered here.
      if (!socket.readableEnded) {
        this.destroy()
      }
    })
    this.#configure(socket)
    if (!this.#referenced) {
      socket.unref()
    }
    socket.resume()
  }
}

// pg appends the socket's name to the directory.
function unixEndpoint(path: string): Endpoint {
  const [, host = '', port = ''] = /^(.*)\/\.s\.PGSQL\.(\d+)$/.exec(path) ?? []
  return { host, port: Number(port) }
}
