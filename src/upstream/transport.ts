/** A connected socket to the server behind, with or without TLS. @module */
import type { Buffer } from 'node:buffer'
import net from 'node:net'
import tls from 'node:tls'
import ipaddr from 'ipaddr.js'
import { sslRequest } from '../protocol/frontend-messages.ts'
import type { ByteSource } from '../stream/byte-source.ts'
import { connectOnread } from '../stream/onread-socket.ts'
import { SocketSource } from '../stream/socket-source.ts'
import { connectError } from './errors.ts'
import {
  connectOptions,
  describeServer,
  isUnixSocket,
  isVerifying,
  type UpstreamSettings,
} from './settings.ts'
import { peerCertificate, tlsConnectOptions } from './tls-options.ts'

/** Bytes both ways. An `error` listener stays on the socket, so that an error never ends the process. */
export interface Transport {
  readonly socket: net.Socket | tls.TLSSocket
  readonly source: ByteSource
  readonly encrypted: boolean
  /** The server's certificate as DER; only with TLS. */
  readonly certificate: Buffer | undefined
  /** True where nobody between us and the server can listen: TLS, a Unix socket, this machine. */
  readonly isPrivate: boolean
  /** True where it is known whom we speak to: TLS verified as `verify-ca` or `verify-full` say, a Unix socket, this machine. */
  readonly isTrusted: boolean
  /** The first error of the socket, for the log. */
  readonly failure: () => Error | undefined
  /** Call it when the login is over: the signal has no say from then on, and nothing is kept for it. */
  readonly release: () => void
}

/** TLS did not come about in a way after which `prefer` may go on without it. */
export class TlsUnavailableError extends Error {
  override readonly name = 'TlsUnavailableError'
}

/** Connects without TLS; reads go into one reused buffer. */
export async function openPlain(
  settings: UpstreamSettings,
  signal: AbortSignal,
): Promise<Transport> {
  const { socket, source } = connectOnread(connectOptions(settings))
  const watch = new SocketWatch(socket, signal)
  await connected(socket, 'connect', watch, settings)
  return plainTransport(settings, socket, source, watch)
}

/**
 * Connects with TLS.
 *
 * @param mayDecline - true: where the server answers that it has no TLS, go on without.
 * @throws {TlsUnavailableError} where another connection without TLS might do.
 */
export async function openTls(
  settings: UpstreamSettings,
  signal: AbortSignal,
  mayDecline: boolean,
): Promise<Transport> {
  const raw = net.connect(connectOptions(settings))
  const watch = new SocketWatch(raw, signal)
  try {
    await connected(raw, 'connect', watch, settings)
    if (settings.sslnegotiation === 'direct') {
      return await handshake(settings, raw, signal, watch)
    }
    const source = new SocketSource(raw)
    raw.write(sslRequest())
    const answer = (await source.readExactly(1))?.toString('latin1')
    if (answer === 'N' && mayDecline) {
      return plainTransport(settings, raw, source, watch)
    }
    checkTlsAnswer(answer, source.buffered + raw.readableLength, watch.failure())
    source.detach()
    return await handshake(settings, raw, signal, watch)
  } catch (error) {
    raw.destroy()
    throw error
  }
}

function checkTlsAnswer(
  answer: string | undefined,
  bytesBehind: number,
  failure: Error | undefined,
): void {
  switch (answer) {
    case 'S':
      // CVE-2021-23222: what came in the clear must never count as said inside TLS.
      if (bytesBehind > 0) {
        throw connectError(
          'protocol_violation',
          'received unencrypted data after SSL response: a server bug or a man-in-the-middle attack',
        )
      }
      return
    case 'N':
      throw connectError('tls_refused', 'server does not support SSL, but SSL was required')
    case 'E':
      // CVE-2024-10977: nobody has vouched for the text behind it.
      throw new TlsUnavailableError('server sent an error response during SSL exchange')
    case undefined:
      throw connectError(
        'closed',
        'server closed the connection instead of answering SSLRequest',
        failure,
      )
    default:
      throw connectError('protocol_violation', 'received invalid response to SSL negotiation')
  }
}

async function handshake(
  settings: UpstreamSettings,
  raw: net.Socket,
  signal: AbortSignal,
  rawWatch: SocketWatch,
): Promise<Transport> {
  const socket = tls.connect({ ...tlsConnectOptions(settings), socket: raw })
  const watch = new SocketWatch(socket, signal)
  try {
    await connected(socket, 'secureConnect', watch, settings)
  } catch (error) {
    throw new TlsUnavailableError('SSL handshake failed', { cause: watch.failure() ?? error })
  }
  // Without it another protocol's server could be made to answer (ALPACA); libpq insists as well.
  if (settings.sslnegotiation === 'direct' && socket.alpnProtocol !== 'postgresql') {
    socket.destroy()
    throw connectError('tls_failed', 'direct SSL connection was established without ALPN')
  }
  return {
    socket,
    source: new SocketSource(socket),
    encrypted: true,
    certificate: peerCertificate(socket),
    isPrivate: true,
    isTrusted: isTrustedTls(settings, raw.remoteAddress, socket.authorized),
    failure: watch.failure,
    release: () => {
      watch.release()
      rawWatch.release()
    },
  }
}

function plainTransport(
  settings: UpstreamSettings,
  socket: net.Socket,
  source: ByteSource,
  { failure, release }: SocketWatch,
): Transport {
  const isLocal = isUnixSocket(settings) || isLoopback(socket.remoteAddress)
  return {
    socket,
    source,
    encrypted: false,
    certificate: undefined,
    isPrivate: isLocal,
    isTrusted: isLocal,
    failure,
    release,
  }
}

/**
 * `require` with a root certificate verifies the chain as well, but `sslmode` is what says that it is meant.
 *
 * @param authorized - Node's word for a chain that was verified.
 */
export function isTrustedTls(
  settings: Pick<UpstreamSettings, 'sslmode'>,
  address: string | undefined,
  authorized: boolean,
): boolean {
  return isLoopback(address) || (isVerifying(settings) && authorized)
}

/** True for the addresses of this machine alone. */
export function isLoopback(address: string | undefined): boolean {
  if (address !== lastAddress.address) {
    const isLoopback =
      address !== undefined &&
      ipaddr.isValid(address) &&
      ipaddr.process(address).range() === 'loopback'
    lastAddress = { address, isLoopback }
  }
  return lastAddress.isLoopback
}

// Asked at each login, and nearly always about the same server.
let lastAddress: { readonly address: string | undefined; readonly isLoopback: boolean } = {
  address: undefined,
  isLoopback: false,
}

/** Keeps the first error and ends the socket with the signal, which wakes whoever reads from it. */
class SocketWatch {
  readonly #socket: net.Socket
  readonly #signal: AbortSignal
  #failure: Error | undefined

  constructor(socket: net.Socket, signal: AbortSignal) {
    this.#socket = socket
    this.#signal = signal
    // Stays for good: an error without a listener would end the process.
    socket.on('error', ignore)
    socket.on('error', this.#onError)
    socket.on('close', this.release)
    signal.addEventListener('abort', this, { once: true })
    if (signal.aborted) {
      socket.destroy()
    }
  }

  readonly failure = (): Error | undefined => this.#failure

  readonly release = (): void => {
    this.#signal.removeEventListener('abort', this)
    this.#socket.off('error', this.#onError)
    this.#socket.off('close', this.release)
  }

  readonly #onError = (error: Error): void => {
    this.#failure ??= error
  }

  /** The signal aborted. */
  handleEvent(): void {
    this.#socket.destroy()
  }
}

function ignore(): void {}

async function connected(
  socket: net.Socket,
  event: 'connect' | 'secureConnect',
  watch: SocketWatch,
  settings: UpstreamSettings,
): Promise<void> {
  const isConnected = await new Promise<boolean>((resolve) => {
    const settle = (): void => {
      socket.off(event, settle)
      socket.off('close', settle)
      resolve(!socket.destroyed)
    }
    socket.on(event, settle)
    socket.on('close', settle)
  })
  if (!isConnected) {
    const failure = watch.failure()
    throw connectError(
      'connect_failed',
      `connection to server at ${describeServer(settings)} failed: ${describeFailure(failure)}`,
      failure,
    )
  }
}

function describeFailure(failure: Error | undefined): string {
  // One error for each address of the name, and no message of its own.
  const all = failure instanceof AggregateError ? (failure.errors as Error[]) : [failure]
  return all.map((error) => error?.message ?? 'closed').join('; ')
}
