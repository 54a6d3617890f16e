/**
 * What a module's `validate` is asked, made so that no ordinary way to print or copy it shows the token.
 *
 * @module
 */
import type { ConnectionInfo, ValidationRequest } from './contract.ts'

/** What the host is asked to have validated. */
export interface ValidationInput {
  /** Syntactically well-formed (RFC 6750 b64token). */
  readonly token: string
  /** The role asked for in the startup packet, as text. */
  readonly role: string
  /** The rule's `issuer`, as written. */
  readonly issuer: string
  /** The rule's `scope`, as written. */
  readonly scope: string
  /** What `checkValidatorOptions` answered for the rule. */
  readonly options: unknown
  readonly delegateIdentMapping: boolean
}

/**
 * Makes the frozen request of one validation. `token` is a getter of its prototype on a private field:
 * console.log, inspection, JSON, spread and structuredClone leave it out.
 */
export function createValidationRequest(
  input: ValidationInput,
  connection: ConnectionInfo,
): ValidationRequest<unknown> {
  return new HiddenTokenRequest(input, connection)
}

/** A rule's `scope` as a list. */
export function splitScope(scope: string): readonly string[] {
  return scope.split(/[ \t]+/).filter((part) => part !== '')
}

class HiddenTokenRequest implements ValidationRequest<unknown> {
  readonly #token: string
  readonly role: string
  readonly issuer: string
  readonly scope: readonly string[]
  readonly options: unknown
  readonly delegateIdentMapping: boolean
  readonly connection: ConnectionInfo

  constructor(input: ValidationInput, connection: ConnectionInfo) {
    this.#token = input.token
    this.role = input.role
    this.issuer = input.issuer
    this.scope = Object.freeze(splitScope(input.scope))
    this.options = input.options
    this.delegateIdentMapping = input.delegateIdentMapping
    this.connection = connection
    Object.freeze(this)
  }

  get token(): string {
    return this.#token
  }

  // Inspection with `getters` and `showHidden` would call the getter.
  [Symbol.for('nodejs.util.inspect.custom')](): object {
    return Object.fromEntries(Object.entries(this))
  }
}
