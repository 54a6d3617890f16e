/**
 * The lines of `log_connections`, with PostgreSQL's texts (`backend_startup.c`, `postinit.c`,
 * `postgres.c`).
 *
 * @module
 */
import type tls from 'node:tls'
import { type ByteString, toText } from './byte-string.ts'
import type { ClientConnection } from './client-connection.ts'
import type { Peer } from './listener/peer.ts'
import type { ConnectionServices } from './services.ts'
import type { StartupMessage } from './startup/startup-message.ts'

type Kind = 'receipt' | 'authentication' | 'authorization' | 'setup_durations'

function wants({ snapshot }: ConnectionServices, kind: Kind): boolean {
  const { logConnections } = snapshot.settings
  return logConnections.includes(kind) || logConnections.includes('all')
}

export function logReceived(client: ClientConnection, services: ConnectionServices): void {
  if (wants(services, 'receipt')) {
    client.log.log(`connection received: ${describePeer(client.peer)}`)
  }
}

export function logAuthorized(
  client: ClientConnection,
  startup: StartupMessage,
  services: ConnectionServices,
): void {
  if (!wants(services, 'authorization')) {
    return
  }
  const replication = startup.replication === 'none' ? '' : 'replication '
  const database = startup.database === '' ? '' : ` database=${toText(startup.database)}`
  const application =
    startup.applicationName === undefined
      ? ''
      : ` application_name=${cleanAscii(startup.applicationName)}`
  const encrypted = client.stream.tls === undefined ? '' : describeTls(client.stream.tls)
  client.log.log(
    `${replication}connection authorized: user=${toText(startup.user)}${database}${application}${encrypted}`,
  )
}

export function logReady(client: ClientConnection, services: ConnectionServices): void {
  if (wants(services, 'setup_durations')) {
    const { total, authentication } = client.durations
    client.log.log(
      `connection ready: setup total=${total.toFixed(3)} ms, authentication=${authentication.toFixed(3)} ms`,
    )
  }
}

function describePeer(peer: Peer): string {
  return peer.kind === 'local' ? 'host=[local]' : `host=${peer.address} port=${peer.port}`
}

// pg_clean_ascii() in common/string.c
function cleanAscii(value: ByteString): string {
  return value.replace(
    /[^\x20-\x7e]/g,
    (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

function describeTls(socket: tls.TLSSocket): string {
  const cipher = socket.getCipher().name
  const bits = /\d{3}/.exec(cipher.replace('CHACHA20', '256'))?.[0] ?? '0'
  return ` SSL enabled (protocol=${socket.getProtocol() ?? 'unknown'}, cipher=${cipher}, bits=${bits})`
}
