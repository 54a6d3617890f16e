/**
 * Several modules as one that accepts what all of them accept, in their order: a signature first, then
 * the question whether the token was revoked.
 *
 * @module
 */
import type {
  AnyValidatorModule,
  ValidationRequest,
  ValidatorResult,
  ValidatorState,
} from 'pgbearer/validator'
import { Fault } from '../refusal.ts'

/** The answer of all; the first that refuses ends it. */
export async function validateAll(
  modules: readonly AnyValidatorModule[],
  state: ValidatorState<undefined>,
  request: ValidationRequest<unknown>,
): Promise<ValidatorResult> {
  let agreed: ValidatorResult | undefined
  for (const module of modules) {
    const result = await module.validate(state, request)
    if (result === false) {
      throw new Fault('internal', 'a member of all gave no answer')
    }
    if (!result.authorized) {
      return result
    }
    agreed = agreed === undefined ? result : combine(agreed, result)
    if (!agreed.authorized) {
      return agreed
    }
  }
  if (agreed === undefined) {
    throw new Fault('internal', 'nobody was asked')
  }
  return agreed
}

/** The earlier end counts, and both have to speak of the same person. */
function combine(first: ValidatorResult, second: ValidatorResult): ValidatorResult {
  if (first.authnId !== second.authnId) {
    return {
      authorized: false,
      authnId: first.authnId,
      code: 'identity_invalid',
      errorDetail: 'The checks of the token name different people.',
    }
  }
  const ends = [first.expiresAt, second.expiresAt].filter((end) => end !== undefined)
  return { ...first, expiresAt: ends.length === 0 ? undefined : Math.min(...ends) }
}
