/**
 * What all connections of a server share.
 *
 * @module
 */
import type { Gate } from './listener/gate.ts'
import type { Log } from './log.ts'
import type { Snapshot } from './snapshot.ts'
import type { CancelRegistry } from './upstream/cancel-registry.ts'
import type { CancelKey } from './protocol/frontend-messages.ts'
import type { UpstreamSettings } from './upstream/settings.ts'

/** Where a client's cancel request goes. */
export interface CancelDestination {
  readonly upstream: UpstreamSettings
  readonly cancelKey: CancelKey
}

export interface Services {
  readonly log: Log
  /** TLS handshakes that compute. */
  readonly handshakes: Gate
  /** Logins from the startup packet to the end of the upstream login. */
  readonly logins: Gate
  readonly cancelKeys: CancelRegistry<CancelDestination>
  /** Connections that have said who they are; `max_connections` bounds it. */
  readonly clients: Set<object>
  /** Aborts when no new login may begin. */
  readonly closing: AbortSignal
  /** Aborts when sessions must end. */
  readonly ending: AbortSignal
}

/** A connection with the snapshot that it began with. */
export interface ConnectionServices extends Services {
  readonly snapshot: Snapshot
}
