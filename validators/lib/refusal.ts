/**
 * The two ways in which a login ends without a yes. Both are thrown, so that no caller can forget to
 * look at an answer.
 *
 * A {@link Refusal} is about the token: somebody brought one that is not good enough. A {@link Fault}
 * is about us: the provider is down or the configuration contradicts itself. Both refuse the login;
 * they are counted and alerted differently.
 *
 * @module
 */
import { ErrorWithoutStack } from './errors-without-stack.ts'

/** Why a token was refused. The words are stable; `docs/reference/errors.md` explains each. */
export type DenyCode =
  | 'malformed'
  | 'limit_exceeded'
  | 'header_rejected'
  | 'alg_not_allowed'
  | 'wrong_type'
  | 'unknown_issuer'
  | 'no_matching_key'
  | 'ambiguous_key'
  | 'key_rejected'
  | 'bad_signature'
  | 'wrong_audience'
  | 'missing_claim'
  | 'bad_claim_type'
  | 'expired'
  | 'not_yet_valid'
  | 'issued_in_future'
  | 'lifetime_too_long'
  | 'insufficient_scope'
  | 'client_not_allowed'
  | 'claim_rule_failed'
  | 'identity_invalid'
  | 'email_unverified'
  | 'role_not_granted'
  | 'role_denied'
  | 'token_inactive'
  | 'sender_constrained'
  | 'replayed'

/** Why no answer could be given. */
export type FaultCode =
  | 'provider_unavailable'
  | 'provider_auth_failed'
  | 'provider_bad_response'
  | 'timeout'
  | 'overloaded'
  | 'config_mismatch'
  | 'internal'

/**
 * The token is not good enough.
 *
 * `message` goes to the log, so it never holds a value from the token.
 */
export class Refusal extends ErrorWithoutStack {
  override readonly name = 'Refusal'
  readonly code: DenyCode

  constructor(code: DenyCode, detail: string) {
    super(detail)
    this.code = code
  }
}

/** No answer could be given; the host makes an internal error of it and logs `message`. */
export class Fault extends ErrorWithoutStack {
  override readonly name = 'Fault'
  readonly code: FaultCode

  constructor(code: FaultCode, message: string, options?: { readonly cause?: unknown }) {
    super(`${code}: ${message}`, options)
    this.code = code
  }
}
