/**
 * Messages out of a stream of chunks.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { decodeMessage, type Message } from './message.ts'

/**
 * Collects chunks and gives back whole messages. Chunks are joined only when a message can be complete,
 * so that a peer who sends one byte at a time does not cost a copy of all that came before.
 */
export class MessageBuffer {
  #joined: Buffer = Buffer.alloc(0)
  #waiting: Buffer[] = []
  #size = 0
  #needed = 5

  /** Bytes that are in no message yet. */
  get size(): number {
    return this.#size
  }

  /** The first byte of the next message. */
  get type(): number | undefined {
    return this.#joined[0] ?? this.#waiting[0]?.[0]
  }

  push(chunk: Buffer): void {
    if (chunk.length > 0) {
      this.#waiting.push(chunk)
      this.#size += chunk.length
    }
  }

  /**
   * The next message, or undefined while it is not complete.
   *
   * @param maxLength - the greatest length word; a greater one, or one below 4, throws RangeError.
   */
  next(maxLength: number): Message | undefined {
    if (this.#size < this.#needed) {
      return undefined
    }
    this.#join()
    const decoded = decodeMessage(this.#joined, maxLength)
    if (decoded === undefined) {
      this.#needed = 1 + this.#joined.readUInt32BE(1)
      return undefined
    }
    this.#joined = this.#joined.subarray(decoded.size)
    this.#size = this.#joined.length
    this.#needed = 5
    return decoded.message
  }

  /** What is left, for whoever reads on. */
  takeAll(): Buffer {
    this.#join()
    const all = this.#joined
    this.#joined = Buffer.alloc(0)
    this.#size = 0
    return all
  }

  #join(): void {
    if (this.#waiting.length > 0) {
      this.#joined = Buffer.concat([this.#joined, ...this.#waiting])
      this.#waiting = []
    }
  }
}
