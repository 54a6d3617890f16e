/**
 * What a provider is made from, asked for, and answers.
 *
 * @module
 */
import type { TokenCallback, TokenFunction } from './callback.ts'
import type { Clock } from './clock.ts'
import type { TokenCredential } from './credential.ts'
import type { TokenTarget } from './request.ts'

/** Where notes go; any `Log` fits. Nothing that is written holds a token. */
export interface ClientLog {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  warning(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** What a provider gets tokens from: a function, or a callback with its context. */
// oxlint-disable-next-line typescript/no-explicit-any -- the context's type matters to the callback alone
export type TokenSource = TokenFunction<any> | TokenCallback<any>

export interface TokenProviderOptions {
  /**
   * How long one call may take, in milliseconds, from the moment it starts. Default: 1 minute, or 5
   * minutes for an interactive callback. `Infinity`: no deadline.
   */
  readonly timeoutMs?: number | undefined
  /** Renew a token before somebody needs it. Default false. */
  readonly backgroundRefresh?: boolean | undefined
  /**
   * Hosts that an interactive callback may be called for: names, addresses, or `*.example.com` for
   * every name below it. Default: every host the user configured. Ports do not count.
   */
  readonly allowedHosts?: readonly string[] | undefined
  /**
   * How long a call that was cancelled may go on, in milliseconds, before it is written off and
   * another may start. Default 30 s. A callback that honours its signal is never written off.
   */
  readonly graceMs?: number | undefined
  readonly log?: ClientLog | undefined
  /** For tests. Default: `performance.now()`. */
  readonly clock?: Clock | undefined
}

/** Who needs a token, and for what. */
export interface TokenNeed {
  /** The role. Tokens are kept apart by this, the target's host and port, issuer, scope and client id. */
  readonly username?: string | undefined
  readonly target?: TokenTarget | undefined
  /** As the user configured it; so are the next two. */
  readonly issuer?: string | undefined
  readonly scope?: string | undefined
  readonly clientId?: string | undefined
  /** What the server said, already checked. Its scope counts where the user gave none. */
  readonly announced?: {
    readonly discoveryUrl?: string | undefined
    readonly scope?: string | undefined
  }
  /** Ends this wait; the call itself goes on for the others. */
  readonly signal?: AbortSignal | undefined
}

/** A token and how it was come by. */
export interface ProvidedToken {
  /** Frozen. */
  readonly credential: TokenCredential
  /** It was held already: no call was made for it. Only such a token is worth a second try. */
  readonly fromCache: boolean
  /** The call that got it was given a refresh token. */
  readonly renewed: boolean
  /** On the provider's clock, in milliseconds; undefined: not known. */
  readonly expiresAt: number | undefined
}
