/**
 * Who is at the other end of a socket.
 *
 * @module
 */
import type net from 'node:net'

/** A Unix socket, or a numeric address and port. */
export type Peer =
  | { readonly kind: 'local' }
  | { readonly kind: 'tcp'; readonly address: string; readonly port: number }

const IPV4_MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/**
 * The peer of an accepted socket; undefined where it has left already.
 *
 * IPv4-mapped addresses become IPv4: PostgreSQL listens with IPV6_V6ONLY and never sees one, so a rule
 * for `10.0.0.0/8` must hold whatever kind of socket took the connection.
 */
export function peerOf(socket: net.Socket, local: boolean): Peer | undefined {
  if (local) {
    return { kind: 'local' }
  }
  const { remoteAddress, remotePort } = socket
  if (remoteAddress === undefined || remotePort === undefined) {
    return undefined
  }
  const address = IPV4_MAPPED.exec(remoteAddress)?.[1] ?? remoteAddress
  return { kind: 'tcp', address, port: remotePort }
}
