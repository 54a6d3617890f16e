/**
 * What a login is made from, and how the options are checked before anything is opened.
 *
 * @module
 */
import { TokenConfigError } from '../errors.ts'
import { configuredIssuer } from '../exchange/discovery-url.ts'
import { type RequireAuth, parseRequireAuth } from '../exchange/require-auth.ts'
import type { ClientLog, TokenProviderOptions, TokenSource } from '../token/provider-options.ts'
import { TokenProvider } from '../token/provider.ts'

/** TLS as Node takes it, without the options that would weaken it. */
export interface OAuthTlsOptions {
  /** Authorities to trust instead of Node's, PEM. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[] | undefined
  /** A client certificate and its key, PEM. */
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
  /** The name to check in the server's certificate, where it is not the host's. */
  readonly servername?: string | undefined
  /** `false` is refused unless `allowInsecureTransport` is set. */
  readonly rejectUnauthorized?: boolean | undefined
}

/** What every login needs to know, whoever opens the connection. */
export interface OAuthLoginOptions {
  /**
   * Where tokens come from: a function, a callback, a built-in source, or a {@link TokenProvider} that
   * several connections share. Anything but a provider gets one of its own.
   */
  readonly token: TokenSource | TokenProvider
  /** Options of that provider; not together with one that was made elsewhere. */
  readonly provider?: TokenProviderOptions | undefined
  /**
   * The authorization server that is trusted: an https URL. A server that announces another one gets
   * nothing. Required for interactive callbacks.
   */
  readonly issuer?: string | undefined
  readonly clientId?: string | undefined
  /** Default: what the server announces. */
  readonly scope?: string | undefined
  /** Default: TLS with a verified chain and host name. `false`: none, see the next two. */
  readonly tls?: OAuthTlsOptions | false | undefined
  /** `direct` begins with TLS (PostgreSQL 17). Default `postgres`: an SSLRequest comes first. */
  readonly sslnegotiation?: 'postgres' | 'direct' | undefined
  /** Allows `tls: false` to a server on this machine. */
  readonly insecure?: 'loopback-only' | undefined
  /** Allows `tls: false` or an unverified certificate. The token can be stolen on the way. */
  readonly allowInsecureTransport?: boolean | undefined
  /** Allows an `http:` issuer. For tests. */
  readonly allowInsecureIssuer?: boolean | undefined
  /** libpq's `require_auth`. Default `oauth`: a server that asks for nothing is refused, too. */
  readonly requireAuth?: string | undefined
  /** `require` always fails: OAUTHBEARER has no channel binding. */
  readonly channelBinding?: 'disable' | 'prefer' | 'require' | undefined
  /**
   * When the callback is asked. `inline`: when the server wants the token, with the connection open.
   * `reconnect`: after a discovery exchange, with no connection open, so that a login may take longer
   * than the server's `authentication_timeout`. Default: `reconnect` for interactive callbacks.
   */
  readonly acquire?: 'inline' | 'reconnect' | undefined
  /** How long one connection may take until it is logged in. Default 30 s. */
  readonly connectTimeoutMs?: number | undefined
  readonly log?: ClientLog | undefined
}

const CONNECT_TIMEOUT_MS = 30_000

/** Checked options: what a login needs, with its defaults. */
export interface LoginPlan {
  readonly provider: TokenProvider
  readonly issuer: string | undefined
  readonly allowInsecureIssuer: boolean
  readonly clientId: string | undefined
  readonly scope: string | undefined
  readonly tls: OAuthTlsOptions | false
  readonly sslnegotiation: 'postgres' | 'direct'
  readonly loopbackOnly: boolean
  readonly allowInsecureTransport: boolean
  readonly allows: RequireAuth
  readonly acquire: 'inline' | 'reconnect'
  readonly connectTimeoutMs: number
  readonly log: ClientLog | undefined
  /** Insecure targets that the log has been told of. */
  readonly warned: Set<string>
}

const TWO_SOURCES =
  'a token callback and a built-in source exclude each other: one of them is the option token'

/** Names that belong elsewhere; ignored, they would leave somebody with a restriction that is none. */
const MISPLACED: Readonly<Record<string, string>> = {
  callback: TWO_SOURCES,
  environment: TWO_SOURCES,
  source: TWO_SOURCES,
  allowedHosts: 'allowedHosts is an option of provider',
  backgroundRefresh: 'backgroundRefresh is an option of provider',
  graceMs: 'graceMs is an option of provider',
  timeoutMs: 'timeoutMs is an option of provider',
}

/**
 * Checks options and makes the provider, once for all connections that share them.
 *
 * @throws TokenConfigError
 */
export function planLogin(options: OAuthLoginOptions): LoginPlan {
  assertNothingMisplaced(options)
  const allows = parseRequireAuth(options.requireAuth ?? 'oauth')
  if (!allows('oauth')) {
    throw new TokenConfigError('requireAuth must allow oauth')
  }
  if (options.channelBinding === 'require') {
    throw new TokenConfigError('channel binding is required, but OAUTHBEARER does not support it')
  }
  const provider = providerOf(options)
  const { issuer, allowInsecureIssuer = false } = options
  if (issuer !== undefined) {
    configuredIssuer(issuer, { allowInsecureIssuer })
  }
  const acquire = options.acquire ?? (provider.interactive ? 'reconnect' : 'inline')
  if (acquire === 'reconnect' && issuer === undefined) {
    throw new TokenConfigError('an issuer must be configured where the server is asked for one')
  }
  return {
    provider,
    issuer,
    allowInsecureIssuer,
    clientId: options.clientId,
    scope: options.scope,
    ...transportOf(options),
    allows,
    acquire,
    connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    log: options.log,
    warned: new Set(),
  }
}

function assertNothingMisplaced(options: object): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && Object.hasOwn(MISPLACED, name)) {
      throw new TokenConfigError(MISPLACED[name] ?? name)
    }
  }
}

function providerOf({ token, provider, log }: OAuthLoginOptions): TokenProvider {
  if (!(token instanceof TokenProvider)) {
    return new TokenProvider(token, { log, ...provider })
  }
  if (provider !== undefined) {
    throw new TokenConfigError('the token provider has its options already')
  }
  return token
}

// The caller may add to what it handed over.
function copyOf(options: OAuthTlsOptions): OAuthTlsOptions {
  const { ca } = options
  return Array.isArray(ca) ? { ...options, ca: [...(ca as readonly string[])] } : { ...options }
}

function transportOf(
  options: OAuthLoginOptions,
): Pick<LoginPlan, 'tls' | 'sslnegotiation' | 'loopbackOnly' | 'allowInsecureTransport'> {
  const tls = options.tls === false ? false : copyOf(options.tls ?? {})
  const sslnegotiation = options.sslnegotiation ?? 'postgres'
  if (tls === false && sslnegotiation === 'direct') {
    throw new TokenConfigError('direct TLS negotiation needs TLS')
  }
  return {
    tls,
    sslnegotiation,
    loopbackOnly: options.insecure === 'loopback-only',
    allowInsecureTransport: options.allowInsecureTransport === true,
  }
}
