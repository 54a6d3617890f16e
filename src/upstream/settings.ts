/** Where the server behind is and how to reach it. @module */
import net from 'node:net'
import path from 'node:path'

/** libpq's `sslmode`. */
export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full'

/** Ways a server may ask a client to prove itself, in the words of libpq's `require_auth`. */
export type UpstreamAuthMethod = 'none' | 'password' | 'md5' | 'scram-sha-256' | 'oauth'

/** The server behind. One object per configuration: TLS material is parsed once for each. */
export interface UpstreamSettings {
  /** A host name, an address, or the directory of a Unix socket (begins with `/`). */
  readonly host: string
  /** Also names the Unix socket: `.s.PGSQL.<port>`. */
  readonly port: number
  readonly sslmode: SslMode
  /** PEM text of the authorities, or `system` (then `sslmode` must be `verify-full`). */
  readonly sslrootcert?: string | undefined
  /** PEM text of our own certificate, and its key. */
  readonly sslcert?: string | undefined
  readonly sslkey?: string | undefined
  /** `direct` begins with TLS instead of asking for it: PostgreSQL 17 and later. */
  readonly sslnegotiation: 'postgres' | 'direct'
  /** For everything up to the end of the login, in milliseconds. */
  readonly connectTimeoutMs: number
  readonly channelBinding: 'disable' | 'prefer' | 'require'
  /**
   * The only methods that may be answered. Default: all of them, but `password` and `md5` only where
   * nobody can listen: on a Unix socket, on this machine, or with TLS. Naming one here allows it anywhere.
   * A token is never sent but on verified TLS, on a Unix socket or to this machine, whatever is named.
   */
  readonly requireAuth?: readonly UpstreamAuthMethod[] | undefined
}

/**
 * What is wrong with settings that only make sense together, in libpq's words; `undefined`: nothing.
 *
 * @example
 * ```ts
 * upstreamSettingsProblem({ ...settings, sslmode: 'verify-full', sslrootcert: undefined })
 * // 'sslmode "verify-full" needs sslrootcert: …'
 * ```
 */
export function upstreamSettingsProblem(
  settings: Pick<UpstreamSettings, 'host' | 'sslmode' | 'sslnegotiation'> &
    Partial<Pick<UpstreamSettings, 'sslrootcert' | 'sslcert' | 'sslkey'>>,
): string | undefined {
  const { sslmode, sslrootcert, sslnegotiation, sslcert, sslkey } = settings
  if (isUnixSocket(settings)) {
    return undefined
  }
  if (sslrootcert === 'system' && sslmode !== 'verify-full') {
    return `weak sslmode "${sslmode}" may not be used with sslrootcert=system (use "verify-full")`
  }
  if (sslmode.startsWith('verify-') && sslrootcert === undefined) {
    return `sslmode "${sslmode}" needs sslrootcert: a file of authorities, or "system" with "verify-full"`
  }
  if (sslnegotiation === 'direct' && !mustEncrypt(sslmode)) {
    return `weak sslmode "${sslmode}" may not be used with sslnegotiation=direct (use "require", "verify-ca", or "verify-full")`
  }
  if ((sslcert === undefined) !== (sslkey === undefined)) {
    return 'sslcert and sslkey need each other'
  }
  return undefined
}

/** True where the session must not begin without TLS. */
export function mustEncrypt(sslmode: SslMode): boolean {
  return sslmode === 'require' || sslmode === 'verify-ca' || sslmode === 'verify-full'
}

/** True where the server's certificate must be one of `sslrootcert`'s authorities. */
export function isVerifying({ sslmode }: Pick<UpstreamSettings, 'sslmode'>): boolean {
  return sslmode === 'verify-ca' || sslmode === 'verify-full'
}

export function isUnixSocket({ host }: Pick<UpstreamSettings, 'host'>): boolean {
  return host.startsWith('/')
}

/**
 * What `net.connect` is told. Both sides may end on their own (COPY and clients that only read), and
 * small messages leave at once.
 */
export function connectOptions(
  settings: UpstreamSettings,
): net.TcpNetConnectOpts | net.IpcNetConnectOpts {
  if (isUnixSocket(settings)) {
    const name = `.s.PGSQL.${settings.port}`
    return { path: path.join(settings.host, name), allowHalfOpen: true }
  }
  return {
    host: settings.host,
    port: settings.port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_MS,
  }
}

// libpq gives every address of a name the whole timeout; Node's 250 ms is less than a distant server needs.
const ADDRESS_ATTEMPT_MS = 2000

/** How the log names the server: never shown to a client. */
export function describeServer({ host, port }: UpstreamSettings): string {
  return net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}
