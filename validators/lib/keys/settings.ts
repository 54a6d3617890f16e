/**
 * The settings about keys: which are good enough, and how often they are asked for.
 *
 * @module
 */
import { z } from 'zod'
import { duration, text } from '../settings/values.ts'
import { ALGORITHMS, type Algorithm, DEFAULT_ALGORITHMS } from './algorithms.ts'
import type { KeyPolicy } from './admit-keys.ts'
import type { RefreshPolicy } from './refresh-policy.ts'

const DAY_MS = 86_400_000

export const keySettings = z.strictObject({
  refresh_after: duration.default(300_000),
  refresh_ahead: duration.default(30_000),
  /** How long logins go on with the last keys while the provider is down. */
  stale_until: duration
    .default(3_600_000)
    .refine((ms) => ms <= DAY_MS, { error: 'must be at most 24h' }),
  /** Directory of ours alone where the last keys are saved, for a start while the provider is down. */
  persist: text.optional(),
  respect_cache_control: z.boolean().default(true),
  unknown_kid_interval: duration
    .default(10_000)
    .refine((ms) => ms >= 1_000, { error: 'must be at least 1s' }),
  unknown_kid_burst: z.int().min(1).max(10).default(1),
  min_rsa_bits: z.int().min(2048).default(2048),
  max_rsa_bits: z.int().max(8192).default(4096),
  /** RSA keys with the public exponent 3. */
  allow_small_exponent: z.boolean().default(false),
  /** What `use` of a key may say: `jwt-svid` in the trust bundle of a SPIFFE trust domain. */
  uses: z
    .array(z.enum(['sig', 'jwt-svid']))
    .min(1)
    .default(['sig']),
  /** Tokens that name no key, where exactly one key fits. */
  allow_missing_kid: z.boolean().default(false),
})

export type KeySettings = z.output<typeof keySettings>

export const algorithms: z.ZodType<readonly Algorithm[]> = z
  .array(z.enum(ALGORITHMS))
  .min(1)
  .default([...DEFAULT_ALGORITHMS])

export function keyPolicy(settings: KeySettings, algorithms: readonly Algorithm[]): KeyPolicy {
  return {
    uses: new Set(settings.uses),
    algorithms: new Set(algorithms),
    minRsaBits: settings.min_rsa_bits,
    maxRsaBits: settings.max_rsa_bits,
    allowSmallExponent: settings.allow_small_exponent,
    allowMissingKid: settings.allow_missing_kid,
  }
}

export function refreshPolicy(settings: KeySettings): RefreshPolicy {
  return {
    refreshAfterMs: settings.refresh_after,
    refreshAheadMs: settings.refresh_ahead,
    staleUntilMs: settings.stale_until,
    respectCacheControl: settings.respect_cache_control,
    unknownKidIntervalMs: settings.unknown_kid_interval,
    unknownKidBurst: settings.unknown_kid_burst,
  }
}
