/**
 * What is wrong with a setting, in words that need no knowledge of the schema.
 *
 * @module
 */
import type { z } from 'zod'

const KINDS: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'an integer',
  number: 'a number',
  object: 'a table',
  record: 'a table',
  string: 'a string',
}

/** An error map for `safeParse()`: what a schema says of itself comes first, `undefined` leaves it to zod. */
export const settingsErrorMap: z.core.$ZodErrorMap = (issue) => {
  if (issue.code === 'invalid_type') {
    return issue.input === undefined
      ? 'is required'
      : `must be ${KINDS[issue.expected] ?? issue.expected}`
  }
  if (issue.code === 'invalid_value') {
    const values = issue.values.map((value) => `"${String(value)}"`)
    return `must be ${values.length > 1 ? 'one of ' : ''}${values.join(', ')}`
  }
  if (issue.code === 'too_small') {
    return boundText(issue.origin, 'least', issue.minimum)
  }
  return issue.code === 'too_big' ? boundText(issue.origin, 'most', issue.maximum) : undefined
}

function boundText(origin: string, side: 'least' | 'most', bound: number | bigint): string {
  if (origin !== 'string' && origin !== 'array') {
    return `must be at ${side} ${bound}`
  }
  if (side === 'least' && Number(bound) === 1) {
    return 'must not be empty'
  }
  return `must have at ${side} ${bound} ${origin === 'string' ? 'characters' : 'members'}`
}
