/**
 * One key ring for each issuer and way to its keys in the process, whoever uses it. A reload makes
 * the new validator before it ends the old one, so the keys that are there stay there.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import type { KeyRing } from './key-ring.ts'

interface Shared {
  readonly ring: KeyRing
  users: number
}

const rings = new Map<string, Shared>()

/** A key ring that ends with its last user. */
export interface KeyRingLease extends AsyncDisposable {
  readonly ring: KeyRing
}

/** A name for what makes two rings different, fit for a file. */
export function nameOf(identity: unknown): string {
  return createHash('sha256').update(JSON.stringify(identity)).digest('hex')
}

/**
 * The ring of this name, made now if nobody has it.
 *
 * @param name - of everything that makes two rings different: issuer, source, key and HTTP policy
 */
export function shareKeyRing(name: string, create: () => KeyRing): KeyRingLease {
  const shared = rings.get(name) ?? { ring: create(), users: 0 }
  shared.users += 1
  rings.set(name, shared)
  let held = true
  return {
    ring: shared.ring,
    async [Symbol.asyncDispose]() {
      if (!held) {
        return
      }
      held = false
      shared.users -= 1
      if (shared.users === 0) {
        rings.delete(name)
        await shared.ring[Symbol.asyncDispose]()
      }
    },
  }
}
