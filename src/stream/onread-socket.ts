/**
 * A socket that reads into a buffer of its own: Node's documented `onread` option, which spares an
 * allocation per read. Bulk data from a server flows through here.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import net from 'node:net'
import type { ByteSource } from './byte-source.ts'
import { PulledSource } from './pulled-source.ts'

/**
 * The first is for logins, short answers and sessions that do nothing, which is most of them; the last for bulk
 * data, where 64 KiB was the best of 16, 64 and 256.
 */
const BUFFER_SIZES = [1024, 8 * 1024, 64 * 1024] as const
/**
 * After so many reads in a row for which the next smaller size had room, it is taken: from 64 KiB at once, or a
 * session would keep them that does nothing after a large answer.
 */
const SMALL_READS_TO_SHRINK = [Number.POSITIVE_INFINITY, 4, 1] as const
/** While the consumer needs one, the next read goes into another. */
const MAX_LENT_BUFFERS = 2

/**
 * Opens a connection whose reads go into a buffer that is never shared with another socket.
 *
 * @returns the socket (still connecting: wait for `connect` or `error`) and its bytes.
 */
export function connectOnread(target: net.TcpNetConnectOpts | net.IpcNetConnectOpts): {
  socket: net.Socket
  source: ByteSource
} {
  const source = new OnreadSource()
  const socket = net.connect({ ...target, onread: source.onread } as net.NetConnectOpts)
  source.attach(socket)
  return { socket, source }
}

class OnreadSource extends PulledSource {
  readonly reusesBuffer = true
  #socket: net.Socket | undefined
  /** Index of the size that fits. */
  #tier = 0
  /** Where the next read goes. */
  #buffer: Buffer = Buffer.allocUnsafeSlow(BUFFER_SIZES[0])
  /** With the consumer, the oldest first. */
  readonly #lent: Buffer[] = []
  /** Came back from the consumer, for when the other one is lent. */
  #spare: Buffer | undefined
  #smallReads = 0
  readonly onread: net.OnReadOpts = {
    // Asked before the first read and after each callback.
    buffer: () => this.#buffer,
    callback: (size) => this.#onRead(size),
  }

  attach(socket: net.Socket): void {
    this.#socket = socket
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onEnd)
  }

  resume(): void {
    const returned = this.#lent.shift()
    if (returned !== undefined && returned !== this.#buffer) {
      this.#spare = returned
    }
    this.#socket?.resume()
  }

  protected stopPulling(): void {
    this.#socket?.off('end', this.#onEnd)
    this.#socket?.off('close', this.#onEnd)
  }

  readonly #onEnd = (): void => {
    this.pulled.end()
  }

  #onRead(size: number): boolean {
    const buffer = this.#buffer
    const chunk = buffer.subarray(0, size)
    if (this.consumer === undefined) {
      this.pulled.push(Buffer.from(chunk))
      return false
    }
    const isDone = this.consumer(chunk)
    this.#fit(size, buffer.length)
    if (isDone) {
      this.#buffer = this.#fits(buffer) ? buffer : this.#newBuffer()
      return true
    }
    return this.#lend(buffer)
  }

  /** The consumer needs the buffer for longer; false where there is none to go on with. */
  #lend(buffer: Buffer): boolean {
    this.#lent.push(buffer)
    const [oldest] = this.#lent
    if (oldest !== undefined && this.#lent.length >= MAX_LENT_BUFFERS) {
      // The first to come back, and nothing is read before that.
      this.#buffer = oldest
      return false
    }
    const spare = this.#spare
    this.#spare = undefined
    this.#buffer = spare !== undefined && this.#fits(spare) ? spare : this.#newBuffer()
    return true
  }

  #fits(buffer: Buffer): boolean {
    return buffer.length === BUFFER_SIZES[this.#tier]
  }

  #newBuffer(): Buffer {
    return Buffer.allocUnsafeSlow(BUFFER_SIZES[this.#tier] ?? BUFFER_SIZES[0])
  }

  /** Chooses the size for the reads to come by how much of a buffer was filled. */
  #fit(size: number, room: number): void {
    const smaller = BUFFER_SIZES[this.#tier - 1]
    this.#smallReads = smaller !== undefined && size < smaller ? this.#smallReads + 1 : 0
    if (size === room && room === BUFFER_SIZES[this.#tier]) {
      this.#tier = Math.min(this.#tier + 1, BUFFER_SIZES.length - 1)
    } else if (this.#smallReads >= (SMALL_READS_TO_SHRINK[this.#tier] ?? 1)) {
      this.#tier -= 1
      this.#smallReads = 0
      this.#spare = undefined
    }
  }
}
