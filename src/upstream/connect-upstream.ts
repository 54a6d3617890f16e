/**
 * Connects to the server behind and logs in there as the role.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import type net from 'node:net'
import type tls from 'node:tls'
import { type ByteString, fromText } from '../byte-string.ts'
import type { Log } from '../log.ts'
import { type CancelKey, startupMessage } from '../protocol/frontend-messages.ts'
import { PROTOCOL_3_0 } from '../protocol/limits.ts'
import type { ByteSource } from '../stream/byte-source.ts'
import { authenticate } from './authenticate.ts'
import type { BearerCredential, UpstreamCredential } from './credential.ts'
import { withDeadline } from './deadline.ts'
import { connectError, loginError, UpstreamRefusedError } from './errors.ts'
import { readGreeting } from './greeting.ts'
import { LoginReader, type RawMessage } from './login-reader.ts'
import { OutdatedTokenError } from './oauth-login.ts'
import {
  describeServer,
  isUnixSocket,
  type UpstreamSettings,
  upstreamSettingsProblem,
} from './settings.ts'
import { openPlain, openTls, TlsUnavailableError, type Transport } from './transport.ts'

/** What the client asked for; every parameter is forwarded as it is, in order. */
export interface UpstreamStartup {
  /** As on the wire: {@link PROTOCOL_3_0} or `PROTOCOL_3_2`. */
  readonly version: number
  readonly parameters: readonly (readonly [name: ByteString, value: ByteString])[]
}

export interface UpstreamOptions {
  /** Absent: only servers that ask for nothing (`trust`, `peer`). */
  readonly credential: UpstreamCredential | undefined
  /** For a server that asks for OAUTHBEARER. The role's password goes before it where the server takes both. */
  readonly bearer?: BearerCredential | undefined
  /** Ends the attempt; has no say once the connection has been handed over. */
  readonly signal: AbortSignal
  readonly log: Log
}

/** A session that is ready. Whoever has it owns the socket; an `error` listener is already on it. */
export interface UpstreamConnection {
  readonly socket: net.Socket | tls.TLSSocket
  /** Everything behind the greeting. */
  readonly source: ByteSource
  /** Verbatim, from behind AuthenticationOk up to and including the first ReadyForQuery. */
  readonly greeting: Buffer
  readonly cancelKey: CancelKey | undefined
  /** The protocol version that the server speaks, which may be older than the one asked for. */
  readonly version: number
}

type Encryption = 'plain' | 'tls'

/** `no pg_hba.conf entry` and a `reject` line: what another encryption can mend. */
const INVALID_AUTHORIZATION = '28000'

/**
 * Logs in. With `allow` and `prefer` this may take two connections.
 *
 * @throws {UpstreamRefusedError} with the server's own bytes, where the server refuses.
 * @throws {UpstreamError} where the server cannot be reached, asks for what we cannot or will not
 *   answer, breaks the protocol or does not prove itself, and when `connectTimeoutMs` is over.
 * @throws the reason of `signal` when that aborts. No socket is left open.
 * @example
 * ```ts
 * const { socket, source, greeting } = await connectUpstream(settings, startup, {
 *   credential: users.get(role),
 *   signal,
 *   log,
 * })
 * ```
 */
export async function connectUpstream(
  settings: UpstreamSettings,
  startup: UpstreamStartup,
  options: UpstreamOptions,
): Promise<UpstreamConnection> {
  checkSettings(settings)
  return withDeadline(options.signal, settings.connectTimeoutMs, (signal) =>
    withNewToken(options.log, () =>
      withFallback(settings, options.log, (encryption) =>
        logInOver(encryption, settings, startup, { ...options, signal }),
      ),
    ),
  )
}

/** @throws {UpstreamError} for settings that do not fit together. */
export function checkSettings(settings: UpstreamSettings): void {
  const problem = upstreamSettingsProblem(settings)
  if (problem !== undefined) {
    throw connectError('settings', problem)
  }
}

/** A token that was kept may have been revoked: a new one is tried once. */
async function withNewToken<T>(log: Log, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt()
  } catch (error) {
    if (!(error instanceof OutdatedTokenError)) {
      throw error
    }
  }
  log.debug('upstream: retrying with a new token')
  try {
    return await attempt()
  } catch (error) {
    throw error instanceof OutdatedTokenError ? error.refusal : error
  }
}

/**
 * Tries the encryptions of `sslmode` in libpq's order (`select_next_encryption_method`). Unlike libpq,
 * a refusal leads to the other one only where that can help: a wrong password is not sent twice.
 */
async function withFallback<T>(
  settings: UpstreamSettings,
  log: Log,
  attempt: (encryption: Encryption) => Promise<T>,
): Promise<T> {
  const [first, second] = encryptions(settings)
  try {
    return await attempt(first)
  } catch (firstError) {
    if (second === undefined || !mayFallBack(firstError)) {
      throw asReport(firstError, settings)
    }
    log.debug(`upstream: retrying with ${second}`, { error: String(firstError) })
    try {
      return await attempt(second)
    } catch (secondError) {
      throw asReport(moreTelling(first, firstError, secondError), settings)
    }
  }
}

function encryptions(settings: UpstreamSettings): readonly [Encryption, Encryption?] {
  if (isUnixSocket(settings)) {
    return ['plain']
  }
  switch (settings.sslmode) {
    case 'disable':
      return ['plain']
    case 'allow':
      return ['plain', 'tls']
    case 'prefer':
      return ['tls', 'plain']
    case 'require':
    case 'verify-ca':
    case 'verify-full':
      return ['tls']
  }
}

function mayFallBack(error: unknown): boolean {
  return (
    error instanceof TlsUnavailableError ||
    (error instanceof UpstreamRefusedError &&
      error.beforeAuthenticationOk &&
      !error.tokenWasSent &&
      error.sqlState === INVALID_AUTHORIZATION)
  )
}

/** Of two failures: what the server said, and if it spoke twice, what it said inside TLS. */
function moreTelling(first: Encryption, firstError: unknown, secondError: unknown): unknown {
  const [tlsError, plainError] =
    first === 'tls' ? [firstError, secondError] : [secondError, firstError]
  return (
    [tlsError, plainError].find((error) => error instanceof UpstreamRefusedError) ?? secondError
  )
}

function asReport(error: unknown, settings: UpstreamSettings): unknown {
  if (!(error instanceof TlsUnavailableError)) {
    return error
  }
  const because = error.cause instanceof Error ? `: ${error.cause.message}` : ''
  const detail = `connection to server at ${describeServer(settings)} failed: ${error.message}${because}`
  return connectError('tls_failed', detail, error)
}

async function logInOver(
  encryption: Encryption,
  settings: UpstreamSettings,
  startup: UpstreamStartup,
  options: UpstreamOptions,
): Promise<UpstreamConnection> {
  const { signal } = options
  const transport =
    encryption === 'tls'
      ? await openTls(settings, signal, settings.sslmode === 'prefer')
      : await openPlain(settings, signal)
  try {
    const connection = await logIn(settings, transport, startup, options)
    signal.throwIfAborted()
    return connection
  } catch (error) {
    transport.socket.destroy()
    throw error
  }
}

async function logIn(
  settings: UpstreamSettings,
  transport: Transport,
  startup: UpstreamStartup,
  { credential, bearer, signal, log }: UpstreamOptions,
): Promise<UpstreamConnection> {
  const { socket, source } = transport
  const reader = new LoginReader(transport)
  socket.write(startupMessage(startup.version, startup.parameters))
  const { version, next } = await negotiateVersion(reader, startup)
  const user = startup.parameters.findLast(([name]) => name === 'user')?.[1] ?? fromText('')
  const method = await authenticate(
    { settings, transport, reader, user, credential, bearer, signal },
    next,
  )
  reader.authenticated()
  const { bytes, cancelKey } = await readGreeting(reader)
  reader.release()
  transport.release()
  log.debug('upstream: logged in', { method, tls: transport.encrypted })
  return { socket, source, greeting: bytes, cancelKey, version }
}

/** Takes at most one NegotiateProtocolVersion off the front (`pqGetNegotiateProtocolVersion3`). */
async function negotiateVersion(
  reader: LoginReader,
  startup: UpstreamStartup,
): Promise<{ readonly version: number; readonly next: RawMessage }> {
  const message = await reader.next()
  if (message.type !== 'v') {
    return { version: startup.version, next: message }
  }
  const version = message.body.length < 8 ? 0 : message.body.readInt32BE(0)
  if (version < PROTOCOL_3_0 || version > startup.version) {
    throw loginError('protocol_violation', 'received invalid protocol negotiation message')
  }
  return { version, next: await reader.next() }
}
