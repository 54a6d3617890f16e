/**
 * What a login is asked, and what it is while it lasts.
 *
 * @module
 */
import type { AuthorizedSession } from '../authorized-session.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import type { HostNameResolver } from '../hba/host-names.ts'
import type { Log } from '../log.ts'
import type { Conversation } from '../sasl/conversation.ts'
import type { ValidationOutcome } from '../validator/validation-outcome.ts'

export interface LoginOptions {
  /** Aborts at the login deadline, when the client leaves and at shutdown. */
  readonly signal: AbortSignal
  readonly log?: Log
  /** Looks the client's host name up where a rule has one; default: the system's. */
  readonly resolver?: HostNameResolver
  /** Told what a validator answered, before anything comes of it. Has no say. */
  readonly onValidated?: (outcome: ValidationOutcome) => void
}

/** A login under way. */
export type Login = ConversationLogin | UpstreamLogin

interface AnyLogin {
  /** The rule that decides. */
  readonly line: HbaLine
  /**
   * Call it when the connection is over, however it ended: the validator's `shutdown` runs. Needs no `this`: who
   * keeps it for as long as a session lasts need not keep the login.
   */
  readonly close: () => Promise<void>
}

/** We decide: by what the client says, or at once. */
export interface ConversationLogin extends AnyLogin {
  readonly kind: 'conversation'
  readonly conversation: Conversation<AuthorizedSession>
  /**
   * The token that was accepted, once, and only where the settings say that the server behind needs it.
   *
   * @internal
   */
  takeToken?(): string | undefined
}

/** The server behind decides (method `upstream`): its exchange with the client is passed on. */
export interface UpstreamLogin extends AnyLogin {
  readonly kind: 'upstream'
  /** Call it when the server has accepted the client, and only then. */
  acceptedByServer(): AuthorizedSession
}
