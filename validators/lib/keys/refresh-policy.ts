/**
 * How long keys are good without asking again, and how long where nobody answers.
 *
 * @module
 */
import type { KeySource } from './key-source.ts'

export interface RefreshPolicy {
  /** Keys are fresh this long, unless the provider's Cache-Control says otherwise. Default 300 s. */
  readonly refreshAfterMs: number
  /** The renewal begins this long before. Default 30 s. */
  readonly refreshAheadMs: number
  /** Keys that could not be renewed are used this long. Default 3600 s; 0: not at all. */
  readonly staleUntilMs: number
  readonly respectCacheControl: boolean
  /** At most one fetch in this time because of unknown key ids. Default 10 s. */
  readonly unknownKidIntervalMs: number
  /** So many such fetches may come at once. Default 1. */
  readonly unknownKidBurst: number
}

// A provider's Cache-Control moves the renewal inside these bounds: Keycloak's "no-cache" must not
// become a fetch for each login.
const MIN_FRESH_MS = 60_000
const MAX_FRESH_MS = 3_600_000

/**
 * How long keys that were loaded now are fresh, in milliseconds; Infinity: for good.
 *
 * @param maxAgeSeconds - what the sender says about that, if anything
 */
export function freshFor(
  source: KeySource['refresh'],
  maxAgeSeconds: number | undefined,
  policy: RefreshPolicy,
): number {
  if (source === 'never') {
    return Infinity
  }
  if (source !== 'by_policy') {
    return source.afterMs
  }
  return maxAgeSeconds === undefined || !policy.respectCacheControl
    ? policy.refreshAfterMs
    : Math.min(MAX_FRESH_MS, Math.max(MIN_FRESH_MS, maxAgeSeconds * 1000))
}

/** When the renewal begins: ahead of time, and not for all processes at the same moment. */
export function renewIn(freshMs: number, policy: RefreshPolicy): number {
  const spread = 0.9 + Math.random() * 0.2
  return Math.max(0, (freshMs - policy.refreshAheadMs) * spread)
}
