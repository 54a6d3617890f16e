/**
 * The current snapshot, and the old ones for as long as a connection began with them.
 *
 * @module
 */
import type { ConnectionServices, Services } from './services.ts'
import type { Snapshot } from './snapshot.ts'

/** What one connection is served by. `release` when the connection has ended. */
export interface TakenSnapshot {
  /** With the snapshot. */
  readonly services: ConnectionServices
  readonly release: () => Promise<void>
}

interface Held {
  /** One for all connections of the snapshot. */
  readonly services: ConnectionServices
  connections: number
  retired: boolean
}

/** Gives each connection the newest snapshot and ends those that nobody has any more. */
export class SnapshotHolder {
  readonly #services: Services
  #current: Held

  /** @param services - what all connections share, whatever their snapshot. */
  constructor(snapshot: Snapshot, services: Services) {
    this.#services = services
    this.#current = this.#hold(snapshot)
  }

  /** What a connection would get now. */
  get current(): Snapshot {
    return this.#current.services.snapshot
  }

  take(): TakenSnapshot {
    const held = this.#current
    held.connections += 1
    return {
      services: held.services,
      release: async () => {
        held.connections -= 1
        await disposeIfUnused(held)
      },
    }
  }

  /** Connections from now on get `snapshot`. */
  async replace(snapshot: Snapshot): Promise<void> {
    const old = this.#current
    this.#current = this.#hold(snapshot)
    await retire(old)
  }

  /** Ends the current one; no connection may be open. */
  async dispose(): Promise<void> {
    await retire(this.#current)
  }

  #hold(snapshot: Snapshot): Held {
    return { services: { ...this.#services, snapshot }, connections: 0, retired: false }
  }
}

/** Whoever still has it goes on with the memberships that it knows. */
async function retire(held: Held): Promise<void> {
  held.retired = true
  held.services.snapshot.memberships?.stop()
  await disposeIfUnused(held)
}

async function disposeIfUnused({ services, connections, retired }: Held): Promise<void> {
  if (retired && connections === 0) {
    await disposeSnapshot(services.snapshot)
  }
}

/** Ends what a snapshot holds; nobody may have it any more. */
export async function disposeSnapshot({
  authenticator,
  upstreamTokens,
}: Pick<Snapshot, 'authenticator' | 'upstreamTokens'>): Promise<void> {
  await authenticator[Symbol.asyncDispose]()
  await upstreamTokens?.[Symbol.asyncDispose]()
}
