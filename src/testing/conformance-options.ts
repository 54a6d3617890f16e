/**
 * What the conformance kit has to be told about a module.
 *
 * @module
 */
import type { Awaitable } from '../validator/contract.ts'

/** A token, or what makes a fresh one. */
export type TokenSource = string | (() => Awaitable<string>)

/** Why a case cannot happen to a module, in words. */
export interface NotApplicable {
  readonly notApplicable: string
}

/** One token for each refusal that no module may lack. Each is good but for the one thing. */
export interface MandatoryRefusals {
  /** Signed by another key, or never issued. */
  readonly forged: TokenSource | NotApplicable
  readonly expired: TokenSource | NotApplicable
  readonly otherIssuer: TokenSource | NotApplicable
  /** Issued for another resource server. */
  readonly otherAudience: TokenSource | NotApplicable
  readonly insufficientScope: TokenSource | NotApplicable
  /** Says nothing about who it belongs to: refused, or accepted as anonymous. */
  readonly withoutIdentity: TokenSource | NotApplicable
}

/** What the kit has to know about a module. */
export interface ConformanceOptions {
  /** A token that logs in as `role`. */
  readonly goodToken: TokenSource
  readonly role: string
  /** Who the good token belongs to; null: nobody, it is anonymous. */
  readonly authnId: string | null
  readonly refused: MandatoryRefusals
  /** More tokens that must be refused, by what is wrong with them. */
  readonly alsoRefused?: Readonly<Record<string, TokenSource>>
  /**
   * Under `delegate_ident_mapping`: `refused` when the module does not support it, else a role that the good
   * token must not become, and the `validator.*` options of a rule that delegates (default: `options`).
   */
  readonly delegation:
    | 'refused'
    | { readonly foreignRole: string; readonly options?: Readonly<Record<string, string>> }
  /** The module's name in messages. */
  readonly name?: string
  /** The `[validators.<name>]` table. */
  readonly settings?: Readonly<Record<string, unknown>>
  /** The rule's issuer, scope and `validator.*` options. */
  readonly issuer?: string
  readonly scope?: string
  readonly options?: Readonly<Record<string, string>>
  /** The longest that anything may take, in milliseconds. Default 10000. */
  readonly timeoutMs?: number
}
