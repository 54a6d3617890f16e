/**
 * Rules for a question without a token: what if a validator had said yes, and to whom?
 *
 * @module
 */
import { randomBytes } from 'node:crypto'
import type { Rules } from '../config/rules.ts'
import { API_VERSION } from '../validator/contract.ts'
import { newValidatorWork } from '../validator/validator-limits.ts'
import { bindValidator } from '../validator/loaded-validator.ts'

/** Rules whose validators know one token, and the token. Nothing but these rules takes it. */
export interface AssumedIdentity {
  readonly rules: Rules
  readonly token: string
}

/** The same rules, with validators that authorize one token of ours as `identity`. */
export function assumeIdentity(rules: Rules, identity: string): AssumedIdentity {
  const token = randomBytes(32).toString('base64url')
  const validator = bindValidator(
    'an identity instead of a token',
    {
      apiVersion: API_VERSION,
      validate: (_: unknown, request: { readonly token: string }) => ({
        authorized: request.token === token,
        authnId: identity,
      }),
    },
    newValidatorWork({}),
  )
  const oauth = new Map([...rules.oauth].map(([line, rule]) => [line, { ...rule, validator }]))
  return { rules: { ...rules, oauth }, token }
}
