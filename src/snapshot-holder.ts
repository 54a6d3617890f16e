/**
 * The current snapshot, and the old ones for as long as a connection began with them.
 *
 * @module
 */
import type { Snapshot } from './snapshot.ts'

/** A snapshot for one connection. `release` when the connection has ended. */
export interface TakenSnapshot {
  readonly snapshot: Snapshot
  readonly release: () => Promise<void>
}

interface Held {
  readonly snapshot: Snapshot
  connections: number
  retired: boolean
}

/** Gives each connection the newest snapshot and ends those that nobody has any more. */
export class SnapshotHolder {
  #current: Held

  constructor(snapshot: Snapshot) {
    this.#current = { snapshot, connections: 0, retired: false }
  }

  /** What a connection would get now. */
  get current(): Snapshot {
    return this.#current.snapshot
  }

  take(): TakenSnapshot {
    const held = this.#current
    held.connections += 1
    return {
      snapshot: held.snapshot,
      release: async () => {
        held.connections -= 1
        await disposeIfUnused(held)
      },
    }
  }

  /** Connections from now on get `snapshot`. */
  async replace(snapshot: Snapshot): Promise<void> {
    const old = this.#current
    this.#current = { snapshot, connections: 0, retired: false }
    await retire(old)
  }

  /** Ends the current one; no connection may be open. */
  async dispose(): Promise<void> {
    await retire(this.#current)
  }
}

/** Whoever still has it goes on with the memberships that it knows. */
async function retire(held: Held): Promise<void> {
  held.retired = true
  held.snapshot.memberships?.stop()
  await disposeIfUnused(held)
}

async function disposeIfUnused({ snapshot, connections, retired }: Held): Promise<void> {
  if (retired && connections === 0) {
    await snapshot.authenticator[Symbol.asyncDispose]()
    await snapshot.upstreamTokens?.[Symbol.asyncDispose]()
  }
}
