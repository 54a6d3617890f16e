/**
 * OAUTHBEARER for `postgres`, through its `socket` option.
 *
 * @module
 */
import type { Duplex } from 'node:stream'
import type { Endpoint } from '../connect/endpoint.ts'
import { planLogin } from '../connect/options.ts'
import { OAuthDuplex } from './oauth-duplex.ts'
import type { DriverOAuthOptions } from './pg.ts'

/** The part of the parsed options of `postgres` that says where to. */
export interface PostgresTarget {
  readonly host: readonly string[]
  readonly port: readonly number[]
  /** The path of a Unix socket. */
  readonly path?: string | false | undefined
}

/**
 * Options for `postgres()` that log in with a token. Hosts, ports, user and database are the driver's;
 * TLS is done here, so `ssl` stays off in the driver. All connections share one provider.
 *
 * @example
 * ```ts
 * const sql = postgres({ host, user, database, ...postgresOAuth({ token: fetchToken }) })
 * ```
 */
export function postgresOAuth(options: DriverOAuthOptions): {
  readonly socket: (target: PostgresTarget) => Duplex
  readonly ssl: false
  readonly max_lifetime?: number
} {
  const plan = planLogin(options)
  const { maxTokenAge } = options
  return {
    socket: (target) => new OAuthDuplex(plan, endpointsOf(target)),
    ssl: false,
    ...(maxTokenAge === undefined ? {} : { max_lifetime: maxTokenAge }),
  }
}

function endpointsOf({ host, port, path }: PostgresTarget): readonly Endpoint[] {
  if (typeof path === 'string') {
    const [, directory = '', number = ''] = /^(.*)\/\.s\.PGSQL\.(\d+)$/.exec(path) ?? []
    return [{ host: directory, port: Number(number) }]
  }
  return host.map((name, at) => ({ host: name, port: port[at] ?? port[0] ?? 5432 }))
}
