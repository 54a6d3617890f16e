/**
 * Any stream socket (TCP, Unix, TLS) as a `ByteSource`.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import type { Duplex } from 'node:stream'
import { PulledSource } from './pulled-source.ts'

/**
 * Pulls from a socket, reading no further than one chunk ahead. The owner of the socket keeps an
 * `error` listener on it and destroys it to wake a reader that should wait no longer.
 */
export class SocketSource extends PulledSource {
  readonly reusesBuffer = false
  readonly #socket: Duplex

  constructor(socket: Duplex) {
    super()
    this.#socket = socket
    socket.pause()
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onEnd)
  }

  /** Lets go of the socket, for another protocol layer (TLS) to take; unread bytes go back into it. */
  detach(): void {
    this.#socket.off('data', this.#onData)
    this.stopPulling()
    if (this.pulled.size > 0) {
      this.#socket.unshift(this.pulled.takeAll())
    }
  }

  resume(): void {
    this.#socket.resume()
  }

  protected stopPulling(): void {
    this.#socket.off('end', this.#onEnd)
    this.#socket.off('close', this.#onEnd)
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.consumer === undefined) {
      this.#socket.pause()
      this.pulled.push(chunk)
    } else if (!this.consumer(chunk)) {
      this.#socket.pause()
    }
  }

  readonly #onEnd = (): void => {
    this.pulled.end()
  }
}
