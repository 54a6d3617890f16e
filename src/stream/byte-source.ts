/**
 * Reading a socket in two ways, one after the other: pulled while somebody parses, then flowing once
 * the bytes are only passed on.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'

/**
 * Receives bytes of a flowing source. `false` says that they are too much for now; each `false` is answered by
 * one `resume()`, in the order of the chunks.
 *
 * Where `reusesBuffer` is true the bytes are only valid until the function returns, unless it returns
 * `false`: then they stay until that `resume()`, and one more chunk may come meanwhile. Any other source
 * pauses at once.
 */
export type ByteConsumer = (chunk: Buffer) => boolean

export interface ByteSource {
  /** True where a flowing chunk is overwritten by the next read. Pulled chunks are always the caller's. */
  readonly reusesBuffer: boolean
  /** How many bytes have been read from the socket and not been taken. */
  readonly buffered: number
  /**
   * The next bytes, at least one; `undefined` once the peer has ended its side (a reset counts as an
   * end: what matters is that nothing more will come).
   */
  readSome(): Promise<Buffer | undefined>
  /** Exactly `size` bytes, or `undefined` where the stream ends first (what came stays buffered). */
  readExactly(size: number): Promise<Buffer | undefined>
  /** Lets bytes come in though nobody waits for them, so that the end of the stream is noticed. */
  readAhead(): void
  /** Puts bytes back in front. */
  unread(chunk: Buffer): void
  /** Stops pulling: the bytes that are buffered, then everything that comes, go to `consumer`. */
  flow(consumer: ByteConsumer): void
  /** The consumer is done with the oldest chunk to which it said `false`. */
  resume(): void
}
