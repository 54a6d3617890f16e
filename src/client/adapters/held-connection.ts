/**
 * A connection of `pg` that is kept from reading until somebody has logged in on its socket.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { authenticationOk } from '../../protocol/backend-messages.ts'
import { ServerRefusedError, TokenRejectedError } from '../errors.ts'
import { assertUsable, type PgConnection } from './pg-internals.ts'

/** Holds back what the driver would send, read and hear; ends with one of its last three methods. */
export class HeldConnection {
  readonly connection: PgConnection
  /** The one it was made with; TLS may have put another in its place. */
  readonly #firstStream: Duplex
  readonly #attach: PgConnection['attachListeners']
  readonly #startup: PgConnection['startup']
  readonly #lost = new AbortController()
  #over = false

  /** @throws TokenConfigError for a connection that lacks what is needed. */
  constructor(connection: PgConnection) {
    assertUsable(connection)
    this.connection = connection
    this.#firstStream = connection.stream
    this.#attach = connection.attachListeners.bind(connection)
    // oxlint-disable-next-line typescript/unbound-method -- it is called on a stand-in
    this.#startup = connection.startup
    connection.attachListeners = () => {}
  }

  /** Fires when the login is over in some other way than by what the server said. */
  get signal(): AbortSignal {
    return this.#lost.signal
  }

  /** Called with the driver's StartupMessage when it wants to send that. */
  whenReady(run: (packet: Buffer) => void): void {
    const { connection } = this
    connection.startup = (parameters) => run(this.#packetOf(parameters))
  }

  /** The server has said yes: the driver reads that, and from then on whatever comes. */
  release(preamble: readonly Buffer[]): void {
    if (this.#over) {
      return
    }
    this.#over = true
    const { stream } = this.connection
    stream.unshift(Buffer.concat([...preamble, authenticationOk()]))
    this.#attach(stream)
    stream.resume()
  }

  /** The login has failed. A refusal of the server is told to the driver as the server worded it. */
  fail(error: unknown): void {
    if (this.#over) {
      return
    }
    this.#over = true
    this.#lost.abort(error)
    if (error instanceof TokenRejectedError || error instanceof ServerRefusedError) {
      const said = new EventEmitter()
      this.#attach(said)
      said.emit('data', error.server.bytes)
    } else {
      this.connection.emit('error', error)
    }
    this.connection.stream.destroy()
  }

  /** Whether another connection can be opened although this one was. */
  isApartFrom(other: PgConnection): boolean {
    return other !== this.connection && other.stream !== this.#firstStream
  }

  /** Nobody hears of this connection any more. */
  drop(): void {
    this.#over = true
    const { connection } = this
    connection.removeAllListeners()
    connection.on('error', () => {})
    connection.stream.destroy()
  }

  #packetOf(parameters: unknown): Buffer {
    const written: Buffer[] = []
    const stream = { writable: true, write: (bytes: Buffer) => written.push(bytes) }
    this.#startup.call(Object.create(this.connection, { stream: { value: stream } }), parameters)
    return Buffer.concat(written)
  }
}
