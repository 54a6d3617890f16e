/**
 * The settings about asking somebody for each login.
 *
 * @module
 */
import { z } from 'zod'
import { duration } from '../settings/values.ts'
import type { GateOptions } from './gate.ts'
import type { RemoteClaimsOptions } from './remote-claims.ts'

const MAX_POSITIVE_MS = 60_000

/** Members for a `z.strictObject`. */
export const remoteSettings = {
  /** `positive` is how long a revoked token goes on working. */
  cache: z
    .strictObject({
      positive: duration
        .default(10_000)
        .refine((ms) => ms <= MAX_POSITIVE_MS, { error: 'must be at most 60s' }),
      negative: duration.default(5_000),
      entries: z.int().nonnegative().max(1_000_000).default(10_000),
    })
    .prefault({}),
  max_concurrent: z.int().positive().max(1_024).default(64),
  queue: z.int().nonnegative().max(10_000).default(256),
  breaker: z
    .strictObject({
      failures: z.int().positive().default(5),
      pause: duration.default(10_000),
    })
    .prefault({}),
} as const

export const remoteSettingsSchema = z.strictObject(remoteSettings)
export type RemoteSettings = z.output<typeof remoteSettingsSchema>

export function gateOptions(settings: RemoteSettings): GateOptions {
  return {
    maxConcurrent: settings.max_concurrent,
    maxQueue: settings.queue,
    failures: settings.breaker.failures,
    pauseMs: settings.breaker.pause,
  }
}

export function remoteClaimsOptions({ cache }: RemoteSettings): RemoteClaimsOptions {
  return { positiveMs: cache.positive, negativeMs: cache.negative, entries: cache.entries }
}
