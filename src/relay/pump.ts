/**
 * One direction of a relay, no faster than its sink takes it.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import type net from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ByteSource } from '../stream/byte-source.ts'

/**
 * A write to a TLS socket is pending for a turn of the event loop even where everything was sent. Up to
 * this size, copying the bytes is cheaper than a second buffer to read into meanwhile.
 */
const COPY_LIMIT = 4096

export class Pump {
  readonly #source: ByteSource
  readonly #sink: net.Socket
  readonly #isTls: boolean
  readonly #observe: (chunk: Buffer) => void
  /** Chunks that were too much, until `drain`. */
  #tooMuch = 0
  /** Callbacks that are still to come for writes that were done at once. */
  #doneAtOnce = 0

  constructor(source: ByteSource, sink: net.Socket, observe: (chunk: Buffer) => void) {
    this.#source = source
    this.#sink = sink
    this.#isTls = sink instanceof TLSSocket
    this.#observe = observe
  }

  start(): void {
    this.#sink.on('drain', this.#drained)
    this.#source.flow(this.#source.reusesBuffer ? this.#lend : this.#pass)
  }

  /** The bytes are the sink's. */
  readonly #pass = (chunk: Buffer): boolean => {
    this.#observe(chunk)
    const isEnough = !this.#sink.write(chunk)
    this.#tooMuch += isEnough ? 1 : 0
    return !isEnough
  }

  /**
   * The bytes are overwritten by a later read. While the write is pending the kernel has not copied them, and
   * the other side would receive a corrupted stream: the source has them back when the write is done.
   */
  readonly #lend = (chunk: Buffer): boolean => {
    if (this.#isTls && chunk.length <= COPY_LIMIT) {
      return this.#pass(Buffer.from(chunk))
    }
    this.#observe(chunk)
    this.#sink.write(chunk, this.#written)
    const isPending = this.#sink.writableLength !== 0
    this.#doneAtOnce += isPending ? 0 : 1
    return !isPending
  }

  // Callbacks come in the order of the writes.
  readonly #written = (): void => {
    if (this.#doneAtOnce > 0) {
      this.#doneAtOnce -= 1
    } else {
      this.#source.resume()
    }
  }

  readonly #drained = (): void => {
    for (; this.#tooMuch > 0; this.#tooMuch -= 1) {
      this.#source.resume()
    }
  }
}
