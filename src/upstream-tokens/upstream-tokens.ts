/**
 * Where the tokens come from that the server behind is shown. Made of both sides: `client/` gets tokens and
 * knows no server, `upstream/` logs in with them and does not know whence they come.
 *
 * @module
 */
import type { ByteString } from '../byte-string.ts'
import type { BearerCredential } from '../upstream/credential.ts'

/** One for each snapshot. */
export interface UpstreamTokens extends AsyncDisposable {
  /** True where the client's own token is needed: then, and only then, a login keeps it. */
  readonly usesClientToken: boolean
  /** For one login behind. Nothing is asked for before a server asks for a token. */
  lease(need: TokenLeaseNeed): TokenLease
}

/** Whose login it is. */
export interface TokenLeaseNeed {
  readonly role: ByteString
  /** The one that the client was let in by; undefined where it was let in by something else. */
  readonly clientToken: string | undefined
}

/** A token for one login. */
export interface TokenLease {
  readonly bearer: BearerCredential
  /** Call it when the login is over, however it ended: the client's token is forgotten. */
  readonly end: () => Promise<void>
}

/** The client's token for as long as a login lasts. */
export class HeldToken {
  #token: string | undefined

  constructor(token: string | undefined) {
    this.#token = token
  }

  /** @throws Error where there is none. */
  get token(): string {
    if (this.#token === undefined) {
      throw new Error('the client has logged in without a token')
    }
    return this.#token
  }

  forget(): void {
    this.#token = undefined
  }
}
