/**
 * Reading a `[validators.<name>]` table: strictly, and with every mistake named at once.
 *
 * @module
 */
import { z } from 'zod'

/** The table is not what the module wants; `message` names each setting and never its value. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'
  readonly code = 'ERR_VALIDATOR_SETTINGS'
}

/**
 * The settings that a table holds.
 *
 * @throws {SettingsError} one line for each mistake: `path: what is wrong`
 */
export function parseSettings<Schema extends z.ZodType>(
  schema: Schema,
  table: unknown,
): z.output<Schema> {
  const parsed = schema.safeParse(table)
  if (parsed.success) {
    return parsed.data
  }
  throw new SettingsError(
    parsed.error.issues.flatMap((issue) => describe(issue, schema)).join('\n'),
  )
}

type Issue = z.core.$ZodIssue

function describe(issue: Issue, schema: z.ZodType): string[] {
  if (issue.code === 'unrecognized_keys') {
    const known = namesAt(schema, issue.path)
    return issue.keys.map(
      (key) => `${[...issue.path, key].join('.')}: unknown setting${hint(key, known)}`,
    )
  }
  if (issue.code === 'invalid_union') {
    return describeUnion(issue, schema)
  }
  const missing = issue.code === 'invalid_type' && issue.input === undefined
  return [`${issue.path.join('.') || '(the table)'}: ${missing ? 'is required' : issue.message}`]
}

/** Of several shapes, the one that was meant: whose own checks failed, not its type. */
function describeUnion(issue: z.core.$ZodIssueInvalidUnion, schema: z.ZodType): string[] {
  const meant = issue.errors.find((issues) =>
    issues.every(({ code, path }) => code !== 'invalid_type' || path.length > 0),
  )
  return issue.message !== 'Invalid input' || meant === undefined
    ? [`${issue.path.join('.')}: ${issue.message}`]
    : meant.flatMap((inner) => describe({ ...inner, path: [...issue.path, ...inner.path] }, schema))
}

function hint(name: string, known: readonly string[]): string {
  const nearest = known
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance)[0]
  return nearest !== undefined && nearest.distance <= Math.max(2, name.length / 3)
    ? ` (did you mean "${nearest.candidate}"?)`
    : ''
}

function namesAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = schema
  for (const name of [...path, undefined]) {
    while (
      at instanceof z.ZodOptional ||
      at instanceof z.ZodDefault ||
      at instanceof z.ZodPrefault
    ) {
      at = at.unwrap()
    }
    if (at instanceof z.ZodPipe) {
      at = at.in
    }
    if (name === undefined) {
      break
    }
    at = at instanceof z.ZodObject ? (at.shape as Record<PropertyKey, unknown>)[name] : undefined
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : []
}

/** Levenshtein's, for names of settings only. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
