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
import { type Judgement, refusalOf } from '../claims/authorize.ts'
import { Fault, Refusal } from '../refusal.ts'

/** How far answers about one token may differ. */
export interface Agreement {
  /** A member may leave out whom the token was issued to; otherwise all say it, or none does. */
  readonly allowMissingClient: boolean
}

/**
 * The answer of all; the first that refuses ends it. They have to speak of the same person and of the same
 * client, and the earlier end counts. The issuer is the same: each was asked as the policy of one.
 */
export async function validateAll(
  modules: readonly AnyValidatorModule[],
  state: ValidatorState<undefined>,
  request: ValidationRequest<unknown>,
  agreement: Agreement,
): Promise<ValidatorResult> {
  let agreed: Judgement | undefined
  for (const module of modules) {
    const result: Judgement | false = await module.validate(state, request)
    if (result === false) {
      throw new Fault('internal', 'a member of all gave no answer')
    }
    if (!result.authorized) {
      return result
    }
    try {
      agreed = agreed === undefined ? result : combine(agreed, result, agreement)
    } catch (error) {
      return refusalOf(error, agreed?.authnId ?? undefined)
    }
  }
  if (agreed === undefined) {
    throw new Fault('internal', 'nobody was asked')
  }
  return agreed
}

/** @throws {Refusal} where the two contradict each other */
function combine(first: Judgement, second: Judgement, agreement: Agreement): Judgement {
  if (first.authnId !== second.authnId) {
    throw new Refusal('identity_invalid', 'The checks of the token name different people.')
  }
  refuseOtherClient(first.clientId, second.clientId, agreement)
  const ends = [first.expiresAt, second.expiresAt].filter((end) => end !== undefined)
  return {
    ...first,
    clientId: first.clientId ?? second.clientId,
    expiresAt: ends.length === 0 ? undefined : Math.min(...ends),
  }
}

function refuseOtherClient(
  first: string | null | undefined,
  second: string | null | undefined,
  { allowMissingClient }: Agreement,
): void {
  if (first === null || second === null) {
    throw new Refusal(
      'client_not_allowed',
      'The token names its client by something that is no text.',
    )
  }
  if (first === second) {
    return
  }
  if (first !== undefined && second !== undefined) {
    throw new Refusal('client_not_allowed', 'The checks of the token name different clients.')
  }
  if (!allowMissingClient) {
    throw new Refusal(
      'client_not_allowed',
      'Only one of the checks says which client the token was issued to.',
    )
  }
}
