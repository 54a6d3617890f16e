/**
 * A file of expectations: who must get in, who must not, and by which line.
 *
 * @module
 */
import { readFileSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { nearestName } from '../config/nearest-name.ts'
import { ConfigError, ConfigFileError } from '../errors.ts'

/** What decides: a rule's method, or that there is no rule. */
export const DECIDED_BY = ['oauth', 'trust', 'reject', 'cert', 'upstream', 'no entry'] as const
/** What comes of it. */
const VERDICTS = ['accepted', 'refused'] as const

const NO_PLACE = { error: 'must be a line number or "file:line"' } as const

const place = z.union([z.int().min(1), z.string().regex(/^.+:[1-9]\d*$/, NO_PLACE)], NO_PLACE)

const expectationSchema = z.strictObject({
  /** For people. */
  name: z.string().optional(),
  user: z.string().min(1),
  /** Default: as the user. */
  database: z.string().optional(),
  /** Numeric; absent: a Unix socket. */
  address: z.string().optional(),
  tls: z.boolean().default(false),
  /** As in a connection string: `true` (physical) or `"database"`. */
  replication: z.union([z.boolean(), z.string()]).optional(),
  /** The client's host name, confirmed; absent: it has none. Nothing is looked up. */
  host_name: z.string().min(1).optional(),
  /** The subject of its certificate, which was verified. */
  client_cert_dn: z.string().min(1).optional(),
  /** The groups that the role is in, in place of what is known of memberships. */
  member_of: z.array(z.string().min(1)).optional(),
  /** As if a validator had authorized a token of this identity. */
  identity: z.string().optional(),
  outcome: z.enum([...DECIDED_BY, ...VERDICTS]),
  /** The rule that matches. */
  line: place.optional(),
  /** The line of a map that matches. */
  map_line: place.optional(),
  /** The reason code of a refusal. */
  reason: z.string().min(1).optional(),
})

const fileSchema = z.strictObject({ expect: z.array(expectationSchema).min(1) })

/** One expectation and where it is written. */
export interface Expectation extends z.output<typeof expectationSchema> {
  readonly at: { readonly file: string; readonly line: number | undefined }
}

/**
 * Reads a file of expectations.
 *
 * @throws ConfigError with everything that is wrong with it.
 */
export function loadExpectations(file: string): readonly Expectation[] {
  const text = readText(file)
  const parsed = fileSchema.safeParse(parseToml(text, file))
  if (!parsed.success) {
    throw new ConfigError(
      parsed.error.issues.flatMap((issue) => describeIssue(issue, { file, text })),
    )
  }
  const lines = headerLines(text)
  return parsed.data.expect.map((expectation, index) => ({
    ...expectation,
    at: { file, line: lines[index] },
  }))
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const message = `could not open file "${file}": ${(cause as Error).message}`
    throw new ConfigError([new ConfigFileError(message, { file, sqlState: '58P01', cause })])
  }
}

function parseToml(text: string, file: string): unknown {
  try {
    return parse(text)
  } catch (error) {
    if (error instanceof TomlError) {
      const [message = 'syntax error'] = error.message.split('\n')
      throw new ConfigError([new ConfigFileError(message, { file, line: error.line })])
    }
    throw error
  }
}

function describeIssue(
  issue: z.core.$ZodIssue,
  { file, text }: { readonly file: string; readonly text: string },
): ConfigFileError[] {
  const [, index] = issue.path
  const line = typeof index === 'number' ? headerLines(text)[index] : undefined
  const options = { file, ...(line === undefined ? {} : { line }) }
  if (issue.code !== 'unrecognized_keys') {
    const name = issue.path.filter((part) => part !== 'expect' && part !== index).join('.')
    const missing = issue.code === 'invalid_type' && issue.input === undefined
    const what = missing ? 'is required' : issue.message
    return [new ConfigFileError(`"${name || 'expect'}": ${what}`, options)]
  }
  return issue.keys.map((key) => {
    const names = Object.keys(issue.path.length === 0 ? fileSchema.shape : expectationSchema.shape)
    const meant = nearestName(key, names)
    const guess = meant === undefined ? '' : `, perhaps you meant "${meant}"`
    return new ConfigFileError(`unrecognized name "${key}"${guess}`, options)
  })
}

/** The lines of `[[expect]]`, from 1, which the parser does not tell. */
function headerLines(text: string): readonly number[] {
  return text
    .split('\n')
    .flatMap((line, index) => (/^\s*\[\[\s*"?expect"?\s*\]\]/.test(line) ? [index + 1] : []))
}
