/**
 * The two clocks: caches obey the monotonic one, claims the wall. Somebody who sets the system clock
 * back does not make an old key fresh.
 *
 * @module
 */
export const CLOCK = {
  /** Milliseconds that only ever grow. */
  monotonicMs(): number {
    return performance.now()
  },
  /** Seconds since 1970, as in a JWT's NumericDate. */
  seconds(): number {
    return Date.now() / 1000
  },
} as const
