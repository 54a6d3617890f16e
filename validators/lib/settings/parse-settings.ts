/**
 * Reading a `[validators.<name>]` table: strictly, and with every mistake named at once.
 *
 * @module
 */
import { z } from 'zod'
import { ErrorWithoutStack } from '../errors-without-stack.ts'

/** The table is not what the module wants; `message` names each setting and never its value. */
export class SettingsError extends ErrorWithoutStack {
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
  const parsed = schema.safeParse(table, { reportInput: true })
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
    const known = namesOf(schemaAt(schema, issue.path))
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
  if (issue.discriminator !== undefined) {
    return describeUnknownKind(
      issue,
      schemaAt(schema, issue.path.slice(0, -1)),
      issue.discriminator,
    )
  }
  const meant = issue.errors.find((issues) =>
    issues.every(({ code, path }) => code !== 'invalid_type' || path.length > 0),
  )
  return issue.message !== 'Invalid input' || meant === undefined
    ? [`${issue.path.join('.')}: ${issue.message}`]
    : meant.flatMap((inner) => describe({ ...inner, path: [...issue.path, ...inner.path] }, schema))
}

/** Nothing says which of several tables it is: what belongs to none of them can still be named. */
function describeUnknownKind(issue: Issue, kinds: unknown, discriminator: string): string[] {
  const path = issue.path.slice(0, -1)
  const known = namesOf(kinds)
  const table = Object(issue.input) as object
  const unknown = Object.keys(table).filter((key) => !known.includes(key))
  const options = kinds instanceof z.ZodDiscriminatedUnion ? kinds.options : []
  const values = options.flatMap((option) => {
    const kind = option instanceof z.ZodObject ? unwrap(option.shape[discriminator]) : undefined
    return kind instanceof z.ZodLiteral ? [...kind.values].map(String) : []
  })
  return [
    `${issue.path.join('.')}: must be one of ${values.join(', ')}`,
    ...unknown.map((key) => `${[...path, key].join('.')}: unknown setting${hint(key, known)}`),
  ]
}

function hint(name: string, known: readonly string[]): string {
  const nearest = known
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance)[0]
  return nearest !== undefined && nearest.distance <= Math.max(2, name.length / 3)
    ? ` (did you mean "${nearest.candidate}"?)`
    : ''
}

/** What the schema says about the setting at a path, without what only makes it optional. */
function schemaAt(schema: z.ZodType, path: readonly PropertyKey[]): unknown {
  let at: unknown = unwrap(schema)
  for (const name of path) {
    if (at instanceof z.ZodArray) {
      at = unwrap(at.element)
    } else {
      const shape = at instanceof z.ZodObject ? (at.shape as Record<PropertyKey, unknown>) : {}
      at = unwrap(shape[name])
    }
  }
  return at
}

function unwrap(schema: unknown): unknown {
  let at = schema
  while (at instanceof z.ZodOptional || at instanceof z.ZodDefault || at instanceof z.ZodPrefault) {
    at = at.unwrap()
  }
  return at instanceof z.ZodPipe ? at.in : at
}

function namesOf(schema: unknown): string[] {
  if (schema instanceof z.ZodDiscriminatedUnion) {
    return schema.options.flatMap(namesOf)
  }
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
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
