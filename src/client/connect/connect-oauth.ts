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
import {
  OAuthConnectionError,
  OAuthProtocolError,
  type RejectionChallenge,
  TokenConfigError,
  TokenRejectedError,
} from '../errors.ts'
import { type Announcement, checkAnnouncement } from '../exchange/discovery-url.ts'
import { ConnectionToken } from '../token/connection-token.ts'
import type { ProvidedToken, TokenNeed } from '../token/provider-options.ts'
import type { TokenProvider } from '../token/provider.ts'
import { isAllowedHost } from './allowed-hosts.ts'
import type { Endpoint } from './endpoint.ts'
import { type LoginOutcome, type OfferToken, logIn } from './log-in.ts'
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
export interface LoginTarget {
  readonly endpoint: Endpoint
  readonly user: string | undefined
  readonly database: string | undefined
  readonly packet: Uint8Array
  readonly signal?: AbortSignal | undefined
}

/** {@link connectOAuth} with options that are checked already. */
export async function connectPlanned(
  plan: LoginPlan,
  target: LoginTarget,
): Promise<OAuthConnection> {
  const { provider } = plan
  if (
    provider.allowedHosts !== undefined &&
    !isAllowedHost(target.endpoint.host, provider.allowedHosts)
  ) {
    throw new TokenConfigError(
      `host "${target.endpoint.host}" is not among the allowed hosts of the token callback`,
    )
  }
  return new LoginAttempts(plan, target).run()
}

/** Discovery URLs by provider and server: a server may not move to another one. */
const announcedUrls = new WeakMap<TokenProvider, Map<string, string>>()

/** The connections it takes to log in once: discovery, the login, and a second try. */
class LoginAttempts {
  readonly #plan: LoginPlan
  readonly #target: LoginTarget
  readonly #need: TokenNeed
  #announced: Announcement | undefined
  #offered: ProvidedToken | undefined

  constructor(plan: LoginPlan, target: LoginTarget) {
    this.#plan = plan
    this.#target = target
    const { user, database, endpoint, signal } = target
    const { issuer, scope, clientId } = plan
    this.#need = {
      username: user,
      target: { ...endpoint, database },
      issuer,
      scope,
      clientId,
      signal,
    }
  }

  async run(): Promise<OAuthConnection> {
    const { acquire, provider } = this.#plan
    if (acquire === 'reconnect' && !provider.has(this.#need)) {
      const open = await this.#discover()
      if (open !== undefined) {
        return open
      }
    }
    for (let renewals = 0; ; renewals += 1) {
      try {
        return await this.#connect()
      } catch (error) {
        if (!(error instanceof TokenRejectedError) || !this.#mayRetry(error, renewals)) {
          throw error
        }
        await this.#renew(error)
      }
    }
  }

  /**
   * Asks the server where tokens come from and gets one, while no connection is open. A server that
   * asks for nothing is logged in to already.
   */
  async #discover(): Promise<OAuthConnection | undefined> {
    const { socket, outcome } = await this.#attempt(async () => undefined)
    if (outcome.kind === 'authenticated') {
      return this.#connection(socket, outcome)
    }
    socket.destroy()
    this.#announced = this.#accept(outcome.challenge)
    this.#offered = await this.#getToken()
    return undefined
  }

  async #connect(): Promise<OAuthConnection> {
    const { socket, outcome } = await this.#attempt(async (signal) => {
      this.#offered ??= await this.#getToken(signal)
      return this.#offered.credential.accessToken
    })
    if (outcome.kind === 'authenticated') {
      return this.#connection(socket, outcome)
    }
    socket.destroy()
    throw new OAuthProtocolError('server answered a token as if it were a discovery request')
  }

  #connection(
    socket: net.Socket,
    { method, preamble }: LoginOutcome & { kind: 'authenticated' },
  ): OAuthConnection {
    const { credential, expiresAt } = this.#offered ?? {}
    const used = method === 'oauth' && credential !== undefined
    return {
      socket,
      startup: { authentication: method, messages: preamble },
      token: used ? new ConnectionToken(credential.accessToken, expiresAt) : undefined,
    }
  }

  /**
   * A held token gets one replacement. Where that came from a refresh token, and a person can be asked,
   * the refresh token is to blame and a fresh login is the last try.
   */
  #mayRetry(error: TokenRejectedError, renewals: number): boolean {
    const { provider } = this.#plan
    const offered = this.#offered
    if (offered === undefined || error.status !== 'invalid_token') {
      return false
    }
    provider.invalidate(offered.credential.accessToken)
    if (offered.fromCache) {
      return renewals === 0
    }
    if (!offered.renewed || !provider.interactive) {
      return false
    }
    provider.forgetRefreshToken(this.#need, offered.credential.refreshToken)
    return renewals <= 1
  }

  async #renew(error: TokenRejectedError): Promise<void> {
    const { acquire, issuer } = this.#plan
    this.#offered = undefined
    if (issuer !== undefined) {
      this.#announced = this.#accept(error)
    }
    if (acquire === 'reconnect') {
      this.#offered = await this.#getToken()
    }
  }

  #getToken(signal: AbortSignal | undefined = this.#target.signal): Promise<ProvidedToken> {
    const { provider } = this.#plan
    const announced = this.#announced
    return provider.get({
      ...this.#need,
      signal,
      ...(announced === undefined ? {} : { announced }),
    })
  }

  #accept(challenge: RejectionChallenge): Announcement {
    const { provider, issuer = '', allowInsecureIssuer } = this.#plan
    const { host, port } = this.#target.endpoint
    const urls = announcedUrls.get(provider) ?? new Map<string, string>()
    const server = JSON.stringify([host, port, this.#target.user])
    const previousUrl = urls.get(server)
    const announced = checkAnnouncement(challenge, issuer, { allowInsecureIssuer, previousUrl })
    announcedUrls.set(provider, urls.set(server, announced.discoveryUrl))
    return announced
  }

  #attempt(offer: OfferToken): Promise<{ socket: net.Socket; outcome: LoginOutcome }> {
    const plan = this.#plan
    const { endpoint, packet } = this.#target
    return this.#timed(async (signal) => {
      const socket = await openTransport(endpoint, plan, signal)
      const { allows } = plan
      const outcome = await abortable(signal, socket, () =>
        logIn(socket, packet, { allows, offer, signal }),
      )
      return { socket, outcome }
    })
  }

  async #timed<Value>(run: (signal: AbortSignal) => Promise<Value>): Promise<Value> {
    const { connectTimeoutMs } = this.#plan
    const { signal } = this.#target
    const timeout = new AbortController()
    const timer = setTimeout(() => {
      const text = `the login was not over after ${connectTimeoutMs} ms`
      timeout.abort(new OAuthConnectionError(text, { step: 'timeout' }))
    }, connectTimeoutMs)
    try {
      return await run(
        signal === undefined ? timeout.signal : AbortSignal.any([timeout.signal, signal]),
      )
    } finally {
      clearTimeout(timer)
    }
  }
}
