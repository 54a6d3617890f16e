/**
 * Any stream socket (TCP, Unix, TLS) as a {@link ByteSource}.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import type { Duplex } from 'node:stream'
import type { ByteConsumer, ByteSource } from './byte-source.ts'
import { PullBuffer } from './pull-buffer.ts'

/**
 * Pulls from a socket, reading no further than one chunk ahead. The owner of the socket keeps an
 * `error` listener on it and destroys it to wake a reader that should wait no longer.
 */
export class SocketSource implements ByteSource {
  readonly reusesBuffer = false
  readonly #socket: Duplex
  readonly #pulled = new PullBuffer()
  #consumer: ByteConsumer | undefined

  constructor(socket: Duplex) {
    this.#socket = socket
    socket.pause()
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onEnd)
  }

  get buffered(): number {
    return this.#pulled.size
  }

  async readSome(): Promise<Buffer | undefined> {
    await this.#pulled.until(1, this.#more)
    return this.#pulled.size > 0 ? this.#pulled.takeAll() : undefined
  }

  async readExactly(size: number): Promise<Buffer | undefined> {
    await this.#pulled.until(size, this.#more)
    return this.takeBuffered(size)
  }

  takeBuffered(size: number): Buffer | undefined {
    return this.#pulled.size >= size ? this.#pulled.take(size) : undefined
  }

  readAhead(): void {
    if (this.#pulled.size === 0) {
      this.#more()
    }
  }

  unread(chunk: Buffer): void {
    this.#pulled.unread(chunk)
  }

  /** Lets go of the socket, for another protocol layer (TLS) to take; unread bytes go back into it. */
  detach(): void {
    this.#socket.off('data', this.#onData)
    this.#socket.off('end', this.#onEnd)
    this.#socket.off('close', this.#onEnd)
    if (this.#pulled.size > 0) {
      this.#socket.unshift(this.#pulled.takeAll())
    }
  }

  flow(consumer: ByteConsumer): void {
    this.#consumer = consumer
    if (this.#pulled.size > 0 && !consumer(this.#pulled.takeAll())) {
      return
    }
    this.#socket.resume()
  }

  resume(): void {
    this.#socket.resume()
  }

  readonly #more = (): void => {
    this.#socket.resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#consumer === undefined) {
      this.#socket.pause()
      this.#pulled.push(chunk)
    } else if (!this.#consumer(chunk)) {
      this.#socket.pause()
    }
  }

  readonly #onEnd = (): void => {
    this.#pulled.end()
  }
}
