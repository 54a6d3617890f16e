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

/** For logins, short answers and sessions that do nothing, which is most of them. */
const SMALL_BUFFER_SIZE = 4 * 1024
/** For bulk data; 64 KiB was the best of 16, 64 and 256. */
const LARGE_BUFFER_SIZE = 64 * 1024
/** After so many reads in a row that the small buffer had room for, the large one goes. */
const SMALL_READS_TO_SHRINK = 16

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
  #buffer: Buffer = Buffer.allocUnsafeSlow(SMALL_BUFFER_SIZE)
  #smallReads = 0
  readonly onread: net.OnReadOpts = {
    // Asked before the first read and after each callback.
    buffer: () => this.#buffer,
    callback: (size) => {
      const chunk = this.#buffer.subarray(0, size)
      this.#fitBuffer(size)
      return this.#onRead(chunk)
    },
  }

  attach(socket: net.Socket): void {
    this.#socket = socket
    socket.on('end', () => this.pulled.end())
    socket.on('close', () => this.pulled.end())
  }

  resume(): void {
    this.#socket?.resume()
  }

  /** Chooses the buffer of the next read. What was read stays where it is. */
  #fitBuffer(size: number): void {
    this.#smallReads = size < SMALL_BUFFER_SIZE ? this.#smallReads + 1 : 0
    if (size === SMALL_BUFFER_SIZE && this.#buffer.length === SMALL_BUFFER_SIZE) {
      this.#buffer = Buffer.allocUnsafeSlow(LARGE_BUFFER_SIZE)
    } else if (
      this.#smallReads >= SMALL_READS_TO_SHRINK &&
      this.#buffer.length > SMALL_BUFFER_SIZE
    ) {
      this.#buffer = Buffer.allocUnsafeSlow(SMALL_BUFFER_SIZE)
    }
  }

  #onRead(chunk: Buffer): boolean {
    if (this.consumer !== undefined) {
      return this.consumer(chunk)
    }
    this.pulled.push(Buffer.from(chunk))
    return false
  }
}
