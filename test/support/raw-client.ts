/** A client that says exactly the bytes it is told to, and shows exactly what it was answered. */
import { Buffer } from 'node:buffer'
import { connect as connectSocket, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { onTestFinished } from 'vitest'

import { type BytesLike, bytes, errorFields, sslRequest } from './wire-bytes.ts'

export interface BackendMessage {
  /** Such as `R` or `E`. */
  readonly type: string
  /** Without type byte and length word. */
  readonly body: Buffer
  /** All of it. */
  readonly raw: Buffer
}

export type RawAddress = { readonly port: number } | { readonly path: string }

/** How long it waits for anything before it fails, in ms. */
const PATIENCE_MS = 10_000

/**
 * Connects; the socket is destroyed when the test is over.
 *
 * @example
 * ```ts
 * const client = await rawClient({ port })
 * client.send(startupMessage({ user: 'alice' }))
 * expect((await client.readMessage()).type).toBe('R')
 * await client.expectClose()
 * ```
 */
export async function rawClient(address: RawAddress): Promise<RawClient> {
  const socket = connectSocket({
    ...('port' in address ? { port: address.port, host: '127.0.0.1' } : { path: address.path }),
    noDelay: true,
    allowHalfOpen: true,
  })
  const client = new RawClient(socket)
  onTestFinished(() => client.destroy())
  await client.connected
  return client
}

export class RawClient {
  readonly connected: Promise<void>
  #socket: Socket
  #received = Buffer.alloc(0)
  #total = 0
  #ended = false
  #closed = false
  #error: Error | undefined
  #wake: () => void = () => {}

  constructor(socket: Socket) {
    this.#socket = socket
    this.connected = new Promise((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    this.#listen(socket)
  }

  /** The socket itself: for pausing, addresses and TLS details. */
  get socket(): Socket {
    return this.#socket
  }

  /** How many bytes came so far. */
  get total(): number {
    return this.#total
  }

  /** What a broken connection was broken by, such as ECONNRESET. */
  get error(): Error | undefined {
    return this.#error
  }

  send(...parts: readonly BytesLike[]): void {
    this.#socket.write(bytes(...parts))
  }

  /** Sends in chunks of `size` bytes, each a packet of its own as far as that can be had. */
  async sendSplit(data: BytesLike, size = 1): Promise<void> {
    const buffer = bytes(data)
    for (let at = 0; at < buffer.length && !this.#closed; at += size) {
      await new Promise<void>((resolve) => {
        this.#socket.write(buffer.subarray(at, at + size), () => setImmediate(resolve))
      })
    }
  }

  /** Ends our side; what the server sends is still read. */
  end(): void {
    this.#socket.end()
  }

  /** Leaves without a word. */
  destroy(): void {
    this.#socket.destroy()
  }

  /** Leaves with a TCP reset. */
  reset(): void {
    this.#socket.resetAndDestroy()
  }

  /** Asks for TLS and gets it. @throws {Error} where the server says no. */
  async startTls(options: ConnectionOptions = {}): Promise<TLSSocket> {
    this.send(sslRequest)
    const answer = (await this.read(1)).toString()
    if (answer !== 'S') {
      throw new Error(`the server answered ${answer} to SSLRequest`)
    }
    return await this.handshake(options)
  }

  /** The TLS handshake alone, as in direct TLS. @throws {Error} where it fails. */
  async handshake(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const plain = this.#socket
    plain.removeAllListeners('data')
    plain.removeAllListeners('end')
    const socket = connectTls({
      rejectUnauthorized: false,
      ALPNProtocols: ['postgresql'],
      ...options,
      socket: plain,
    })
    this.#socket = socket
    this.#listen(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('closed in the TLS handshake')))
    })
    return socket
  }

  /** Reads exactly so many bytes. @throws {Error} where the server ends before. */
  async read(size: number): Promise<Buffer> {
    await this.#until(() => this.#received.length >= size, `${size} bytes`)
    const taken = this.#received.subarray(0, size)
    this.#received = this.#received.subarray(size)
    return taken
  }

  async readMessage(): Promise<BackendMessage> {
    const head = await this.read(5)
    const body = await this.read(head.readInt32BE(1) - 4)
    return { type: head.toString('latin1', 0, 1), body, raw: bytes(head, body) }
  }

  /** Reads up to and including the first message of a type. */
  async readUntil(type: string): Promise<readonly BackendMessage[]> {
    const messages: BackendMessage[] = []
    do {
      messages.push(await this.readMessage())
    } while (messages.at(-1)?.type !== type)
    return messages
  }

  /** Reads an ErrorResponse. @returns its fields by their letters. */
  async readError(): Promise<Readonly<Record<string, string>>> {
    const { type, body } = await this.readMessage()
    if (type !== 'E') {
      throw new Error(`expected an ErrorResponse, got ${type}`)
    }
    return errorFields(body)
  }

  /** Waits until the server has closed. @returns what it sent before, unread. */
  async readToEnd(): Promise<Buffer> {
    await this.#until(() => this.#ended || this.#closed, 'the end')
    const taken = this.#received
    this.#received = Buffer.alloc(0)
    return taken
  }

  /** Waits until the server has closed, without another byte. @throws {Error} where some came. */
  async expectClose(): Promise<void> {
    const rest = await this.readToEnd()
    if (rest.length > 0) {
      throw new Error(`the server sent ${show(rest)} before it closed`)
    }
  }

  /** Whether the server has neither closed nor sent anything for so long, in ms. */
  async isSilent(ms: number): Promise<boolean> {
    const before = this.#total
    await new Promise((resolve) => setTimeout(resolve, ms))
    return this.#total === before && !this.#ended && !this.#closed
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      this.#total += chunk.length
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake()
    })
    socket.on('end', () => {
      this.#ended = true
      this.#wake()
    })
    socket.on('error', (error) => {
      this.#error = error
      this.#wake()
    })
    socket.on('close', () => {
      this.#closed = true
      this.#wake()
    })
  }

  async #until(satisfied: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS
    while (!satisfied()) {
      const left = deadline - Date.now()
      if (this.#ended || this.#closed || left <= 0) {
        const why = left <= 0 ? 'nothing more came' : (this.#error?.message ?? 'the server closed')
        throw new Error(`waiting for ${what}: ${why}; unread: ${show(this.#received)}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}

function show(data: Buffer): string {
  const MOST = 400
  return data.length === 0 ? 'nothing' : JSON.stringify(data.toString('latin1').slice(0, MOST))
}
