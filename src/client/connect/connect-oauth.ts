/**
 * Logs in to a PostgreSQL server with a token, to the point where somebody else can take over.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import type net from 'node:net'
import { fromText } from '../../byte-string.ts'
import { startupMessage } from '../../protocol/frontend-messages.ts'
import { PROTOCOL_3_0 } from '../../protocol/limits.ts'
import { OAuthConnectionError } from '../errors.ts'
import type { ConnectionToken } from '../token/connection-token.ts'
import { type LoginOutcome, logIn } from './log-in.ts'
import { LoginTokens, type TokenRecipient } from './login-tokens.ts'
import { type LoginPlan, type OAuthLoginOptions, planLogin } from './options.ts'
import { abortable, openTransport } from './secure-transport.ts'

/** Where to, as whom, and with what token. */
export interface ConnectOAuthOptions extends OAuthLoginOptions {
  /** Host name, address, or the directory of a Unix socket. */
  readonly host: string
  /** Default 5432. */
  readonly port?: number | undefined
  readonly user: string
  /** Default: the server's, which is the name of the user. */
  readonly database?: string | undefined
  /** Further startup parameters, such as `application_name`. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /**
   * A whole StartupMessage to send instead of one made of the above, as it is: for a proxy that passes
   * on its client's. `user` and `database` are still what the callback is told.
   */
  readonly startupPacket?: Uint8Array | undefined
  /** Ends the attempt. The callback goes on for others who wait for the same token. */
  readonly signal?: AbortSignal | undefined
}

/** What the server said on the way in. */
export interface ServerGreeting {
  /** `none`: it asked for nothing, which `requireAuth` had to allow. */
  readonly authentication: 'oauth' | 'none'
  /** NegotiateProtocolVersion and NoticeResponses that came before AuthenticationOk, as they came. */
  readonly messages: readonly Buffer[]
}

/** A connection behind AuthenticationOk. */
export interface OAuthConnection {
  /** Paused; the next byte that can be read is the first one after AuthenticationOk. */
  readonly socket: net.Socket
  readonly startup: ServerGreeting
  /** The token of this connection; undefined where the server asked for none. */
  readonly token: ConnectionToken | undefined
}

/**
 * Opens a connection and logs in with a token from the callback.
 *
 * The token is asked for only after the transport is verified and the server wants OAUTHBEARER. A held
 * token that the server refuses as invalid is dropped and replaced once, on a new connection.
 *
 * @throws InsecureTransportError, TokenCallbackError, TokenTimeoutError, TokenRejectedError,
 * ServerRefusedError, OAuthProtocolError, OAuthConnectionError, TokenConfigError; the signal's reason.
 *
 * @example
 * ```ts
 * const { socket } = await connectOAuth({
 *   host: 'db.example.com',
 *   user: 'ann',
 *   token: async () => credential(await fetchToken()),
 * })
 * ```
 */
export async function connectOAuth(options: ConnectOAuthOptions): Promise<OAuthConnection> {
  const endpoint = { host: options.host, port: options.port ?? 5432 }
  const { user, database, signal, startupPacket: packet = packetFor(options) } = options
  const target = { endpoint, user, database, packet, signal }
  return connectPlanned(planLogin(options), target)
}

function packetFor({ user, database, parameters }: ConnectOAuthOptions): Buffer {
  const named = { user, ...(database === undefined ? {} : { database }), ...parameters }
  return startupMessage(
    PROTOCOL_3_0,
    Object.entries(named).map(([name, value]) => [fromText(name), fromText(value)] as const),
  )
}

/** Where one login goes, with the startup packet that is sent there. */
export interface LoginTarget extends TokenRecipient {
  readonly packet: Uint8Array
}

/** {@link connectOAuth} with options that are checked already. */
export async function connectPlanned(
  plan: LoginPlan,
  target: LoginTarget,
): Promise<OAuthConnection> {
  const tokens = new LoginTokens(plan, target)
  for (;;) {
    try {
      const { socket, outcome } = await attempt(plan, target, tokens)
      if (outcome.kind === 'authenticated') {
        const { method, preamble } = outcome
        return {
          socket,
          startup: { authentication: method, messages: preamble },
          token: method === 'oauth' ? tokens.connectionToken : undefined,
        }
      }
      socket.destroy()
      tokens.learn(outcome.challenge)
    } catch (error) {
      if (!tokens.mayRetry(error)) {
        throw error
      }
    }
    await tokens.prepare()
  }
}

/** One connection, as far as the server's answer. */
function attempt(
  plan: LoginPlan,
  { endpoint, packet, signal: outer }: LoginTarget,
  tokens: LoginTokens,
): Promise<{ socket: net.Socket; outcome: LoginOutcome }> {
  const { allows, connectTimeoutMs } = plan
  return withinMs(connectTimeoutMs, outer, async (signal) => {
    const socket = await openTransport(endpoint, plan, signal)
    const offer = (lost: AbortSignal) => tokens.offer(lost)
    const outcome = await abortable(signal, socket, () =>
      logIn(socket, packet, { allows, offer, signal }),
    )
    return { socket, outcome }
  })
}

async function withinMs<Value>(
  timeoutMs: number,
  outer: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(loginTimeout(timeoutMs)), timeoutMs)
  try {
    return await run(
      outer === undefined ? timeout.signal : AbortSignal.any([timeout.signal, outer]),
    )
  } finally {
    clearTimeout(timer)
  }
}

/** Why a login that took too long has failed. */
export function loginTimeout(timeoutMs: number): OAuthConnectionError {
  return new OAuthConnectionError(`the login was not over after ${timeoutMs} ms`, {
    step: 'timeout',
  })
}
