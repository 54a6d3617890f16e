/**
 * What every SASL mechanism is to the conversation (`pg_be_sasl_mech` in `sasl.h`).
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import type { SilentProtocolViolationError } from '../errors.ts'

/**
 * One step of an exchange. `abandoned` is a client that only asked for something (discovery): it ends
 * like a failure on the wire but is not one.
 */
export type SaslStep<Accepted, Refused> =
  | { readonly kind: 'continue'; readonly challenge: Buffer }
  | { readonly kind: 'success'; readonly accepted: Accepted }
  | { readonly kind: 'failure'; readonly refused: Refused }
  | { readonly kind: 'abandoned' }

export interface SaslMechanism<Accepted, Refused> {
  readonly name: string
  /** `undefined`: the client sent no initial response. Throws a ReportError on a protocol violation. */
  exchange(data: Buffer | undefined): Promise<SaslStep<Accepted, Refused>>
}

/** The one question that the conversation asks, and the two answers it knows. */
export type Decision<Accepted, Refused> =
  | { readonly authorized: true; readonly accepted: Accepted }
  | { readonly authorized: false; readonly refused: Refused }

/**
 * Everything that a conversation is given. It cannot tell a refused token from a map that does not
 * match, and must not be able to.
 */
export interface Decider<Accepted, Refused> {
  /** Runs once, at the client's first message, before its payload is looked at. */
  begin(): Promise<void>
  /** Asks about one well-formed token, at most once. */
  decide(token: string): Promise<Decision<Accepted, Refused>>
  /** A token whose syntax is wrong: what to record. `detail` says what, without the token. */
  malformed(detail: string): Refused
  /** A frame that holds no message: what client and log are told where `auth_failed()` would speak. */
  broken(cause: SilentProtocolViolationError): Refused
}
