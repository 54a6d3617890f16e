/**
 * Which server a CancelRequest belongs to.
 *
 * @module
 */
import { timingSafeEqual } from 'node:crypto'
import type { CancelKey } from '../protocol/frontend-messages.ts'

/** Takes a key out of the registry; again does nothing. */
export type Forget = () => void

/** What became of a look-up, in PostgreSQL's words. */
export type CancelTarget<Target> =
  | { readonly kind: 'found'; readonly target: Target }
  | { readonly kind: 'no_process' | 'wrong_key' }

/** The cancel keys of the sessions that are in. Process numbers of different servers may be equal. */
export class CancelRegistry<Target> {
  readonly #sessions = new Map<number, Set<{ readonly key: Buffer; readonly target: Target }>>()

  get size(): number {
    return this.#sessions.size
  }

  register({ processId, key }: CancelKey, target: Target): Forget {
    const entry = { key, target }
    const entries = this.#sessions.get(processId) ?? new Set()
    entries.add(entry)
    this.#sessions.set(processId, entries)
    return () => {
      entries.delete(entry)
      if (entries.size === 0 && this.#sessions.get(processId) === entries) {
        this.#sessions.delete(processId)
      }
    }
  }

  /** Compares keys in constant time: a key is a secret. */
  find({ processId, key }: CancelKey): CancelTarget<Target> {
    const entries = this.#sessions.get(processId)
    if (entries === undefined) {
      return { kind: 'no_process' }
    }
    for (const entry of entries) {
      if (entry.key.length === key.length && timingSafeEqual(entry.key, key)) {
        return { kind: 'found', target: entry.target }
      }
    }
    return { kind: 'wrong_key' }
  }
}
