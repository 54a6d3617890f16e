/** What proves that we may be a role. @module */
import type { Buffer } from 'node:buffer'

/**
 * How to log in as one role: its password, or the two SCRAM keys that libpq 18 calls `scram_client_key`
 * and `scram_server_key`. Keys derived from a password are kept with the object, so hand in the same
 * one every time.
 */
export type UpstreamCredential =
  | { readonly password: string }
  | { readonly scramClientKey: Buffer; readonly scramServerKey: Buffer }

/** A credential that printing and serialising leave empty. */
export function hiddenCredential<T extends UpstreamCredential>(credential: T): T {
  const hidden = Object.entries(credential).map(
    ([name, value]) => [name, { value, enumerable: false }] as const,
  )
  return Object.freeze(Object.defineProperties({}, Object.fromEntries(hidden))) as T
}
