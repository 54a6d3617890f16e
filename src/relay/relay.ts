/**
 * Bytes both ways until either side closes. Nothing is parsed: COPY, LISTEN/NOTIFY, pipelines and
 * large rows are only bytes.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import type net from 'node:net'
import type { ByteSource } from '../stream/byte-source.ts'
import { Pump } from './pump.ts'

/** One side: where its bytes come from, and the socket to write to. */
export interface RelaySide {
  readonly socket: net.Socket
  readonly source: ByteSource
}

export interface RelayOptions {
  /** Ends the session from outside. */
  readonly signal: AbortSignal
  /** What a client whose session is ended from outside reads, where it is not in the middle of a message. */
  readonly goodbye: Buffer
}

/**
 * Passes bytes both ways. Resolves when both sockets are closed; never rejects.
 *
 * Both sockets have `allowHalfOpen`, so that a side that ends its half still receives the rest.
 */
export function relay(client: RelaySide, server: RelaySide, options: RelayOptions): Promise<void> {
  return new Promise((resolve) => {
    new Relay(client, server, options, resolve).start()
  })
}

// One object for a session, and few closures: most sessions do nothing for most of their life.
class Relay {
  readonly #client: net.Socket
  readonly #server: net.Socket
  readonly #toClient: Pump
  readonly #toServer: Pump
  readonly #signal: AbortSignal
  readonly #goodbye: Buffer
  readonly #over: () => void
  /** The last bytes looked like the end of an answer, and nothing was asked since. */
  #atRest = true
  #open = 2

  constructor(
    client: RelaySide,
    server: RelaySide,
    { signal, goodbye }: RelayOptions,
    over: () => void,
  ) {
    this.#client = client.socket
    this.#server = server.socket
    this.#toClient = new Pump(server.source, client.socket, (chunk) => {
      this.#atRest = endsWithReadyForQuery(chunk)
    })
    this.#toServer = new Pump(client.source, server.socket, () => {
      this.#atRest = false
    })
    this.#signal = signal
    this.#goodbye = goodbye
    this.#over = over
  }

  start(): void {
    this.#signal.addEventListener('abort', this, { once: true })
    this.#closeWith(this.#client, this.#server)
    this.#closeWith(this.#server, this.#client)
    this.#toClient.start()
    this.#toServer.start()
    if (this.#signal.aborted) {
      this.handleEvent()
    }
  }

  /** The session is ended from outside. */
  handleEvent(): void {
    if (this.#atRest && this.#client.writableLength === 0) {
      this.#client.end(this.#goodbye)
    } else {
      this.#client.destroy()
    }
    this.#server.destroy()
  }

  /** The end of one side's stream ends the other's; its close, whatever the reason, closes the other. */
  #closeWith(socket: net.Socket, other: net.Socket): void {
    if (socket.readableEnded) {
      other.end()
    } else {
      socket.on('end', () => other.end())
    }
    const closed = (): void => {
      other.destroySoon()
      this.#open -= 1
      if (this.#open === 0) {
        this.#signal.removeEventListener('abort', this)
        this.#over()
      }
    }
    if (socket.closed) {
      closed()
    } else {
      socket.on('close', closed)
    }
  }
}

/**
 * Whether a chunk looks like the end of a server's answer: `Z`, length 5, a transaction status. Only
 * used to choose between a goodbye and a bare close, never to decide what is passed on.
 */
function endsWithReadyForQuery(chunk: Buffer): boolean {
  const at = chunk.length - 6
  return at >= 0 && chunk[at] === 0x5a && chunk.readUInt32BE(at + 1) === 5
}
