/**
 * The client's socket and everything that can end it: the deadlines, the client itself, a shutdown, and
 * the errors that are reported to it.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import type net from 'node:net'
import { AuthenticationTimeoutError, InternalError, ReportError } from './errors.ts'
import type { Peer } from './listener/peer.ts'
import type { Log } from './log.ts'
import { logReport } from './log-report.ts'
import { errorResponse, errorResponseV2 } from './protocol/backend-messages.ts'
import { UnsupportedProtocolError } from './startup/negotiate.ts'
import type { ClientStream } from './startup/negotiate.ts'
import { UpstreamRefusedError } from './upstream/errors.ts'

/** How long a refused client may take to read why, in ms. */
const LINGER_MS = 1000

/** The client left, or did not say who it is in time: nothing is said and nothing is logged. */
export class SilentEnd extends Error {
  override readonly name = 'SilentEnd'
}

/** A refusal that the client reads and the log does not (a discovery request). */
export class UnloggedEnd extends Error {
  override readonly name = 'UnloggedEnd'
  readonly report: ReportError

  constructor(report: ReportError) {
    super(report.message)
    this.report = report
  }
}

/** One client. The stream changes when TLS begins; the rest stays. */
export class ClientConnection {
  readonly id: string
  readonly peer: Peer
  readonly raw: net.Socket
  log: Log
  #controller: AbortController | undefined
  #stream: ClientStream | undefined
  #timer: NodeJS.Timeout | undefined
  #busy = 0
  #loginOver = false
  readonly #accepted = performance.now()
  #authenticating = 0

  constructor(raw: net.Socket, { id, peer, log }: { id: string; peer: Peer; log: Log }) {
    this.raw = raw
    this.id = id
    this.peer = peer
    this.log = log
    this.#watch(raw)
  }

  /** Aborts when the login must end: deadline, client gone, shutdown. Its reason says which. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  get stream(): ClientStream {
    if (this.#stream === undefined) {
      throw new InternalError('the stream is not negotiated')
    }
    return this.#stream
  }

  set stream(stream: ClientStream) {
    this.#stream = stream
    if (stream.socket !== this.raw) {
      this.#watch(stream.socket)
    }
  }

  get clientAddress(): string | undefined {
    return this.peer.kind === 'tcp' ? this.peer.address : undefined
  }

  /** The deadline for the startup packet: silent, as in `process_startup_packet_die()`. */
  startupDeadline(timeoutMs: number): void {
    this.#deadline(timeoutMs, () => new SilentEnd('startup timed out'))
  }

  /** The deadline for the login; replaces the other one. */
  authenticationDeadline(timeoutMs: number): void {
    this.#authenticating = performance.now()
    this.#deadline(timeoutMs, () => new AuthenticationTimeoutError({ reason: 'timeout' }))
  }

  /** Since the accept, and since the startup packet, in ms. */
  get durations(): { readonly total: number; readonly authentication: number } {
    const now = performance.now()
    return { total: now - this.#accepted, authentication: now - this.#authenticating }
  }

  /** The login is over: from here on nothing here ends the connection, nor is anything kept for that. */
  endLogin(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#loginOver = true
    this.#controller = undefined
    this.#unwatch(this.raw)
    if (this.#stream !== undefined) {
      this.#unwatch(this.#stream.socket)
    }
  }

  /** Ends a login from outside; a session that is in has its own way to end. */
  abort(reason: Error): void {
    if (!this.#loginOver && !this.signal.aborted) {
      this.#controller?.abort(reason)
      this.raw.destroy()
      this.#stream?.socket.destroy()
    }
  }

  write(bytes: Buffer): void {
    if (bytes.length > 0) {
      this.stream.socket.write(bytes)
    }
  }

  /** Waits for something other than the client, and stops waiting for a client that has left. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    if (this.stream.socket.readableEnded) {
      this.abort(new SilentEnd('client gone'))
    }
    this.signal.throwIfAborted()
    this.stream.source.readAhead()
    this.#busy += 1
    try {
      return await work()
    } finally {
      this.#busy -= 1
    }
  }

  /** Tells client and log why the connection ends, each what it may know. */
  report(thrown: unknown): void {
    const error = this.signal.aborted ? (this.signal.reason as unknown) : thrown
    if (error instanceof SilentEnd) {
      this.raw.destroy()
    } else if (error instanceof UnloggedEnd) {
      this.log.debug('OAuth issuer discovery requested')
      this.#sayAndClose(error.report)
    } else if (error instanceof ReportError) {
      this.#reportError(error)
    } else {
      this.log.error('internal error', { code: 'ERR_INTERNAL', detail: describe(error) })
      this.#sayAndClose(new InternalError('internal error'))
    }
  }

  #reportError(error: ReportError): void {
    logReport(error, this.log)
    if (error.audience === 'log') {
      this.raw.destroy()
    } else {
      this.#sayAndClose(error)
    }
  }

  #sayAndClose(error: ReportError): void {
    const socket = this.#stream?.socket ?? this.raw
    if (socket.destroyed || !socket.writable) {
      this.raw.destroy()
      return
    }
    socket.end(errorBytes(error))
    // A socket that is closed with bytes unread resets the connection, and the reason may get lost.
    socket.removeAllListeners('data')
    socket.resume()
    const timer = setTimeout(() => this.raw.destroy(), LINGER_MS)
    socket.once('end', () => socket.destroySoon())
    socket.once('close', () => clearTimeout(timer))
    if (socket.readableEnded) {
      socket.destroySoon()
    }
  }

  #deadline(timeoutMs: number, reason: () => Error): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.abort(reason()), timeoutMs)
  }

  #watch(socket: net.Socket): void {
    // Without a listener an error would end the process; the close that follows it is what counts.
    socket.on('error', ignore)
    socket.on('end', this.#onGone)
    socket.on('close', this.#onGone)
  }

  #unwatch(socket: net.Socket): void {
    socket.off('end', this.#onGone)
    socket.off('close', this.#onGone)
  }

  readonly #onGone = (): void => {
    if (this.#busy > 0) {
      this.abort(new SilentEnd('client gone'))
    }
  }
}

function ignore(): void {}

function errorBytes(error: ReportError): Buffer {
  if (error instanceof UpstreamRefusedError) {
    return error.bytes
  }
  return error instanceof UnsupportedProtocolError && error.beforeVersion3
    ? errorResponseV2(error)
    : errorResponse(error)
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
