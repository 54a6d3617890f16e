/**
 * Bytes both ways until either side closes. Nothing is parsed: COPY, LISTEN/NOTIFY, pipelines and
 * large rows are only bytes.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import type net from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ByteSource } from '../stream/byte-source.ts'

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
export async function relay(
  client: RelaySide,
  server: RelaySide,
  { signal, goodbye }: RelayOptions,
): Promise<void> {
  let atRest = true
  const stop = (): void => {
    if (atRest && client.socket.writableLength === 0) {
      client.socket.end(goodbye)
    } else {
      client.socket.destroy()
    }
    server.socket.destroy()
  }
  signal.addEventListener('abort', stop, { once: true })
  const closed = Promise.all([
    closeWith(client.socket, server.socket),
    closeWith(server.socket, client.socket),
  ])
  pump(server, client, (chunk) => {
    atRest = endsWithReadyForQuery(chunk)
  })
  pump(client, server, () => {
    atRest = false
  })
  if (signal.aborted) {
    stop()
  }
  await closed
  signal.removeEventListener('abort', stop)
}

/**
 * A write to a TLS socket is pending for a turn of the event loop even where everything was sent. Up to
 * this size, copying the bytes is cheaper than stopping and starting to read.
 */
const COPY_LIMIT = 4096

/** Copies one direction, no faster than the other end takes it. */
function pump(from: RelaySide, to: RelaySide, observe: (chunk: Buffer) => void): void {
  let pausedFor = false
  const resume = (): void => {
    if (pausedFor) {
      pausedFor = false
      from.source.resume()
    }
  }
  to.socket.on('drain', resume)
  if (from.source.reusesBuffer) {
    const isTls = to.socket instanceof TLSSocket
    from.source.flow((chunk) => {
      observe(chunk)
      if (isTls && chunk.length <= COPY_LIMIT) {
        pausedFor = !to.socket.write(Buffer.from(chunk))
        return !pausedFor
      }
      to.socket.write(chunk, resume)
      // While the write is pending the kernel has not copied the bytes: the next read would overwrite
      // them, and the other side would receive a corrupted stream.
      pausedFor = to.socket.writableLength !== 0
      return !pausedFor
    })
    return
  }
  from.source.flow((chunk) => {
    observe(chunk)
    pausedFor = !to.socket.write(chunk)
    return !pausedFor
  })
}

/** The end of one side's stream ends the other's; its close, whatever the reason, closes the other. */
async function closeWith(socket: net.Socket, other: net.Socket): Promise<void> {
  const passOn = (): void => {
    other.end()
  }
  socket.once('end', passOn)
  if (socket.readableEnded) {
    passOn()
  }
  await new Promise<void>((resolve) => {
    const done = (): void => {
      other.destroySoon()
      resolve()
    }
    if (socket.closed) {
      done()
    } else {
      socket.once('close', done)
    }
  })
}

/**
 * Whether a chunk looks like the end of a server's answer: `Z`, length 5, a transaction status. Only
 * used to choose between a goodbye and a bare close, never to decide what is passed on.
 */
function endsWithReadyForQuery(chunk: Buffer): boolean {
  const at = chunk.length - 6
  return at >= 0 && chunk[at] === 0x5a && chunk.readUInt32BE(at + 1) === 5
}
