/** What proves that we may be a role. @module */
import type { Buffer } from 'node:buffer'
import type { ByteString } from '../byte-string.ts'

/**
 * How to log in as one role: its password, or the two SCRAM keys that libpq 18 calls `scram_client_key`
 * and `scram_server_key`. Keys derived from a password are kept with the object, so hand in the same
 * one every time.
 */
export type UpstreamCredential =
  | { readonly password: string }
  | { readonly scramClientKey: Buffer; readonly scramServerKey: Buffer }

/** Who needs a token. The signal aborts when the login behind has to end. */
export interface BearerNeed {
  readonly user: ByteString
  readonly signal: AbortSignal
}

/** A token for a server that asks for OAUTHBEARER; nobody is asked for it before such a server is there. */
export interface BearerCredential {
  /** Its error's message goes to the log, so it must not hold any part of a token. */
  readonly bearerToken: (need: BearerNeed) => Promise<string>
  /** Told that the server refused this token. True: it was an old one, and another try gets a new one. */
  readonly refused?: ((token: string) => boolean) | undefined
}

/** A credential that printing and serialising leave empty. */
export function hiddenCredential<T extends UpstreamCredential | BearerCredential>(
  credential: T,
): T {
  const hidden = Object.entries(credential).map(
    ([name, value]) => [name, { value, enumerable: false }] as const,
  )
  return Object.freeze(Object.defineProperties({}, Object.fromEntries(hidden))) as T
}
