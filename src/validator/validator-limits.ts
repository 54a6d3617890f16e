/**
 * What one module may use.
 *
 * @module
 */
import type { ValidatorWork } from './loaded-validator.ts'
import { TokensInFlight } from './tokens-in-flight.ts'
import { Turns } from './turns.ts'

/** How many validations of one module run at once, unless its limits say otherwise. */
export const MAX_CONCURRENT_VALIDATIONS = 100
/** How many more wait their turn; one beyond fails at once. */
export const MAX_WAITING_VALIDATIONS = 1000

/** What one module may use. */
export interface ValidatorLimits {
  /** At least 1. Default {@link MAX_CONCURRENT_VALIDATIONS}. */
  readonly maxConcurrent?: number
  /** Default {@link MAX_WAITING_VALIDATIONS}. */
  readonly maxWaiting?: number
  /**
   * `validator_timeout`: the longest that `startup` and `validate` may take, each. Default: the login deadline
   * alone counts.
   */
  readonly validatorTimeoutMs?: number | undefined
}

/** What the host keeps for a module that is being loaded. */
export function newValidatorWork(limits: ValidatorLimits): ValidatorWork {
  return Object.freeze({
    inFlight: new TokensInFlight(),
    turns: new Turns(
      limits.maxConcurrent ?? MAX_CONCURRENT_VALIDATIONS,
      limits.maxWaiting ?? MAX_WAITING_VALIDATIONS,
    ),
    timeoutMs: limits.validatorTimeoutMs,
  })
}
