/**
 * OAUTHBEARER for `pg`, through its public `stream` option.
 *
 * @module
 */
import type { Duplex } from 'node:stream'
import { type OAuthLoginOptions, planLogin } from '../connect/options.ts'
import { OAuthDuplex } from './oauth-duplex.ts'

/** Options of {@link pgOAuth} and {@link postgresOAuth}. */
export interface DriverOAuthOptions extends OAuthLoginOptions {
  /**
   * Retires a pooled connection that is older than this, in seconds, when it is idle: for servers that
   * end a session when its token expires. Default: the driver's own.
   */
  readonly maxTokenAge?: number | undefined
}

/**
 * Options for `pg.Client` and `pg.Pool` that log in with a token. Host, port, user and database are the
 * driver's; TLS is done here, so `ssl` stays off in the driver. All connections share one provider.
 *
 * @example
 * ```ts
 * const pool = new pg.Pool({ host, user, database, ...pgOAuth({ token: fetchToken }) })
 * ```
 */
export function pgOAuth(options: DriverOAuthOptions): {
  readonly stream: () => Duplex
  readonly ssl: false
  readonly maxLifetimeSeconds?: number
} {
  const plan = planLogin(options)
  const { maxTokenAge } = options
  return {
    stream: () => new OAuthDuplex(plan),
    ssl: false,
    ...(maxTokenAge === undefined ? {} : { maxLifetimeSeconds: maxTokenAge }),
  }
}
