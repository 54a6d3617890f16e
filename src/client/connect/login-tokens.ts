/**
 * The token of one login, over all the connections that it takes.
 *
 * @module
 */
import { type RejectionChallenge, TokenConfigError, TokenRejectedError } from '../errors.ts'
import { type Announcement, checkAnnouncement } from '../exchange/discovery-url.ts'
import { ConnectionToken } from '../token/connection-token.ts'
import type { ProvidedToken, TokenNeed } from '../token/provider-options.ts'
import type { TokenProvider } from '../token/provider.ts'
import { isAllowedHost } from './allowed-hosts.ts'
import type { Endpoint } from './endpoint.ts'
import type { LoginPlan } from './options.ts'

/** Whom a token is for, and which server sees it. */
export interface TokenRecipient {
  readonly endpoint: Endpoint
  readonly user: string | undefined
  readonly database: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** Discovery URLs by provider and server: a server may not move to another one. */
const announcedUrls = new WeakMap<TokenProvider, Map<string, string>>()

/**
 * Says what a server that asks for a token is told, and what a refusal means. Opens nothing: whoever does
 * calls {@link LoginTokens.offer} on each connection, and {@link LoginTokens.prepare} before the next.
 */
export class LoginTokens {
  readonly #plan: LoginPlan
  readonly #recipient: TokenRecipient
  readonly #need: TokenNeed
  #asksServer: boolean
  #renewals = 0
  #announced: Announcement | undefined
  #offered: ProvidedToken | undefined

  /** @throws TokenConfigError where the callback may not be called for this host. */
  constructor(plan: LoginPlan, recipient: TokenRecipient) {
    const { endpoint, user, database, signal } = recipient
    const { provider, issuer, scope, clientId, acquire } = plan
    if (
      provider.allowedHosts !== undefined &&
      !isAllowedHost(endpoint.host, provider.allowedHosts)
    ) {
      throw new TokenConfigError(
        `host "${endpoint.host}" is not among the allowed hosts of the token callback`,
      )
    }
    this.#plan = plan
    this.#recipient = recipient
    this.#need = {
      username: user,
      target: { ...endpoint, database },
      issuer,
      scope,
      clientId,
      signal,
    }
    this.#asksServer = acquire === 'reconnect' && !provider.has(this.#need)
  }

  /** The token for a server that asks for one; undefined: it is asked where tokens come from. */
  async offer(signal: AbortSignal): Promise<string | undefined> {
    if (this.#asksServer) {
      return undefined
    }
    this.#offered ??= await this.#get(signal)
    return this.#offered.credential.accessToken
  }

  /**
   * Takes the answer to a discovery request. The login goes on with {@link LoginTokens.prepare} and
   * another connection.
   *
   * @throws OAuthProtocolError where the server announces an issuer that is not trusted.
   */
  learn(challenge: RejectionChallenge): void {
    this.#asksServer = false
    this.#announced = this.#accept(challenge)
  }

  /**
   * Whether the login goes on after this error, as after {@link LoginTokens.learn}. A held token that is
   * refused as invalid gets one replacement. Where that came from a refresh token, and a person can be
   * asked, the refresh token is to blame and a fresh login is the last try.
   */
  mayRetry(error: unknown): error is TokenRejectedError {
    const { provider, issuer } = this.#plan
    const offered = this.#offered
    const rejected = error instanceof TokenRejectedError && error.status === 'invalid_token'
    if (!rejected || offered === undefined) {
      return false
    }
    provider.invalidate(offered.credential.accessToken)
    if (!offered.fromCache) {
      if (!offered.renewed || !provider.interactive) {
        return false
      }
      provider.forgetRefreshToken(this.#need, offered.credential.refreshToken)
    }
    const renewals = this.#renewals
    this.#renewals += 1
    if (renewals > (offered.fromCache ? 0 : 1)) {
      return false
    }
    this.#offered = undefined
    if (issuer !== undefined) {
      this.#announced = this.#accept(error)
    }
    return true
  }

  /** Gets the next token where that is done while no connection is open. */
  async prepare(): Promise<void> {
    if (this.#plan.acquire === 'reconnect') {
      this.#offered = await this.#get(this.#recipient.signal)
    }
  }

  /** What a connection that was logged in keeps; undefined where no token was offered. */
  get connectionToken(): ConnectionToken | undefined {
    const { credential, expiresAt } = this.#offered ?? {}
    return credential && new ConnectionToken(credential.accessToken, expiresAt)
  }

  #get(signal: AbortSignal | undefined): Promise<ProvidedToken> {
    const announced = this.#announced
    return this.#plan.provider.get({
      ...this.#need,
      signal,
      ...(announced === undefined ? {} : { announced }),
    })
  }

  #accept(challenge: RejectionChallenge): Announcement {
    const { provider, issuer = '', allowInsecureIssuer } = this.#plan
    const { endpoint, user } = this.#recipient
    const urls = announcedUrls.get(provider) ?? new Map<string, string>()
    const server = JSON.stringify([endpoint.host, endpoint.port, user])
    const previousUrl = urls.get(server)
    const announced = checkAnnouncement(challenge, issuer, { allowInsecureIssuer, previousUrl })
    announcedUrls.set(provider, urls.set(server, announced.discoveryUrl))
    return announced
  }
}
