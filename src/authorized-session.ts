/**
 * What comes of a login that was accepted. Only the authenticator can make one, and `relay` cannot be
 * reached without one: there is no flag to forget.
 *
 * @module
 */
import type { ByteString } from './byte-string.ts'
import type { HbaLine } from './hba/hba-line.ts'

const made = Symbol('made by the authenticator')

export interface AuthorizedSessionFields {
  /** The role, as asked for and now granted. */
  readonly role: ByteString
  /** Empty for physical replication. */
  readonly database: ByteString
  readonly line: HbaLine
  /** Who the token belongs to (`system_user` without its `oauth:`); absent for anonymous delegation and `trust`. */
  readonly authnId?: string | undefined
  /** When the token stops being valid, in seconds since 1970. */
  readonly expiresAt?: number | undefined
}

/** The proof that somebody may be a role. */
export class AuthorizedSession {
  readonly role: ByteString
  readonly database: ByteString
  readonly line: HbaLine
  readonly authnId: string | undefined
  readonly expiresAt: number | undefined

  /** @internal */
  constructor(proof: typeof made, fields: AuthorizedSessionFields) {
    if (proof !== made) {
      throw new TypeError('an authorized session comes from the authenticator')
    }
    this.role = fields.role
    this.database = fields.database
    this.line = fields.line
    this.authnId = fields.authnId
    this.expiresAt = fields.expiresAt
    Object.freeze(this)
  }
}

/** @internal */
export function authorizeSession(fields: AuthorizedSessionFields): AuthorizedSession {
  return new AuthorizedSession(made, fields)
}
