/**
 * PostgreSQL's units of time in settings: `90s`, `1min`, `500ms`, `1h`, `1d`; a bare number has the
 * setting's own unit (`guc.c`: `parse_int()` with GUC_UNIT_TIME).
 *
 * @module
 */
import { z } from 'zod'

const MILLISECONDS = {
  us: 0.001,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
} as const

type Unit = keyof typeof MILLISECONDS

const TIME = 'must be a time, such as "30s" or "1min"'

const DURATION = /^\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*$/

export interface DurationLimits {
  /** The unit of a bare number. */
  readonly unit: Unit
  /** Smallest and greatest value, in `unit`. */
  readonly min: number
  readonly max: number
}

/** A setting that is a length of time; the result is in milliseconds. */
export function duration({ unit, min, max }: DurationLimits): z.ZodType<number, number | string> {
  return z.union([z.string(), z.number()], TIME).transform((value, context) => {
    const milliseconds = parseDuration(String(value), unit)
    if (milliseconds === undefined) {
      context.addIssue({
        code: 'custom',
        message: `"${value}" is not a time (valid units are "us", "ms", "s", "min", "h" and "d")`,
      })
      return z.NEVER
    }
    if (milliseconds < min * MILLISECONDS[unit] || milliseconds > max * MILLISECONDS[unit]) {
      context.addIssue({
        code: 'custom',
        message: `${value} is outside the valid range (${min} ${unit} .. ${max} ${unit})`,
      })
      return z.NEVER
    }
    return milliseconds
  })
}

function parseDuration(text: string, bare: Unit): number | undefined {
  const match = DURATION.exec(text)
  if (match === null) {
    return undefined
  }
  return Number(match[1]) * MILLISECONDS[(match[2] as Unit | undefined) ?? bare]
}
