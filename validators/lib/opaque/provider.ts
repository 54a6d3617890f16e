/**
 * What an opaque token means to the provider that gave it out, in the words of a JWT's claims.
 *
 * @module
 */
import type { JsonObject } from '../json.ts'
import { Fault } from '../refusal.ts'

/** Looks a token up, and proves that it was given to us and to nobody else. */
export interface OpaqueProvider {
  /**
   * @returns `sub`, `aud` (the client that got the token), `scope`, `exp` where there is an end, and what
   *   else the provider tells
   * @throws {Refusal} `token_inactive`, or `wrong_audience` for a token of another application
   */
  lookUp(token: string, signal: AbortSignal): Promise<JsonObject>
}

/** A number that names somebody, as text: names can be given up and taken by others, numbers cannot. */
export function numericId(value: unknown): string {
  if (!Number.isSafeInteger(value) || Number(value) <= 0) {
    throw new Fault('provider_bad_response', 'the provider did not say whose token it is')
  }
  return String(value)
}
