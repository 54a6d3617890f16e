/**
 * Where a server listens.
 *
 * @module
 */
import net from 'node:net'
import { InsecureTransportError, OAuthConnectionError, messageOf } from '../errors.ts'

/** A host name or address, or the directory of a Unix socket, and the port. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** Whether the host is the directory of a Unix socket (libpq's rule, without abstract sockets). */
export function isUnix({ host }: Endpoint): boolean {
  return host.startsWith('/')
}

/** The socket's path, as PostgreSQL names it. */
export function unixSocketPath({ host, port }: Endpoint): string {
  return `${host}/.s.PGSQL.${port}`
}

/** How messages name the server. */
export function describeEndpoint(endpoint: Endpoint): string {
  return isUnix(endpoint) ? unixSocketPath(endpoint) : `${endpoint.host} port ${endpoint.port}`
}

/** Opens the socket. An error listener stays on it; the signal destroys it while it connects. */
export async function openSocket(endpoint: Endpoint, signal: AbortSignal): Promise<net.Socket> {
  signal.throwIfAborted()
  const socket = isUnix(endpoint)
    ? net.connect({ path: unixSocketPath(endpoint) })
    : net.connect({ host: endpoint.host, port: endpoint.port, noDelay: true })
  const stop = (): void => {
    socket.destroy()
  }
  signal.addEventListener('abort', stop, { once: true })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.on('error', reject)
      socket.once('close', () => reject(signal.aborted ? signal.reason : new Error('closed')))
    })
    return socket
  } catch (error) {
    socket.destroy()
    signal.throwIfAborted()
    throw new OAuthConnectionError(
      `could not connect to ${describeEndpoint(endpoint)}: ${messageOf(error)}`,
      { step: 'connect', cause: error },
    )
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

const LOOPBACK = new net.BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8)
LOOPBACK.addAddress('::1', 'ipv6')

/** Whether the peer's address, not its name, is this machine. */
export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) {
    return false
  }
  const family = net.isIPv6(address) ? 'ipv6' : 'ipv4'
  return net.isIP(address) !== 0 && LOOPBACK.check(address, family)
}

/** Refuses a connection that a token may not travel on. */
export function insecure(endpoint: Endpoint, why: string): InsecureTransportError {
  return new InsecureTransportError(`no token may be sent to ${describeEndpoint(endpoint)}: ${why}`)
}
