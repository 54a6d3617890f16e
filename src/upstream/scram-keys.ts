/** The two keys of SCRAM-SHA-256, from a password. @module */
import type { Buffer } from 'node:buffer'
import { createHmac, pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import type { UpstreamCredential } from './credential.ts'

export const SCRAM_KEY_LENGTH = 32

/** RFC 5802 §3: what the client proves itself with, and what the server does. */
export interface ScramKeys {
  readonly clientKey: Buffer
  readonly serverKey: Buffer
}

interface Derived {
  readonly salt: Buffer
  readonly iterations: number
  readonly keys: Promise<ScramKeys>
}

// A role has one salt until its password changes, so that one answer for each credential spares a storm
// of logins all but the first PBKDF2. It goes when the credential does, and holds no password.
const derived = new WeakMap<UpstreamCredential, Derived>()

/**
 * The keys of a credential. PBKDF2 runs outside the event loop, once for the same salt and iterations,
 * also when many ask at the same time.
 */
export async function scramKeys(
  credential: UpstreamCredential,
  salt: Buffer,
  iterations: number,
): Promise<ScramKeys> {
  if (!('password' in credential)) {
    return { clientKey: credential.scramClientKey, serverKey: credential.scramServerKey }
  }
  const known = derived.get(credential)
  if (known !== undefined && known.iterations === iterations && known.salt.equals(salt)) {
    return known.keys
  }
  const keys = deriveKeys(credential.password, salt, iterations)
  derived.set(credential, { salt, iterations, keys })
  try {
    return await keys
  } catch (error) {
    derived.delete(credential)
    throw error
  }
}

/** RFC 5802 §3, with SHA-256 (RFC 7677). */
export async function deriveKeys(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<ScramKeys> {
  const prepared = await preparePassword(password)
  const salted = await promisify(pbkdf2)(prepared, salt, iterations, SCRAM_KEY_LENGTH, 'sha256')
  return {
    clientKey: createHmac('sha256', salted).update('Client Key').digest(),
    serverKey: createHmac('sha256', salted).update('Server Key').digest(),
  }
}

/**
 * SASLprep; where it refuses the password, or nothing is left of it, the password as it is
 * (`fe-auth-scram.c`, `pg_saslprep`).
 *
 * `pg_saslprep` looks for prohibited characters before normalizing and the library, as the RFC says,
 * after it: the results differ for some characters that Unicode 3.2 did not have.
 */
async function preparePassword(password: string): Promise<string> {
  if (/^[\x00-\x7f]*$/.test(password)) {
    return password
  }
  const { saslprep } = await import('@mongodb-js/saslprep')
  try {
    return saslprep(password) || password
  } catch {
    return password
  }
}
