/**
 * `upstream.users_file`: how to log in to the server behind, for each role.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import path from 'node:path'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { type ByteString, fromText } from '../byte-string.ts'
import { ConfigFileError } from '../errors.ts'
import { MAX_NAME_LENGTH } from '../protocol/limits.ts'
import { hiddenCredential, type UpstreamCredential } from '../upstream/credential.ts'
import { nearestName } from './nearest-name.ts'
import { readSecretFile, whyUnreadable } from './secret-file.ts'
import { type LineOf, tomlLines } from './toml-lines.ts'

/** What there is in a users file, and everything that is wrong with it. */
export interface UsersFile {
  /** By role, in the order of the file. Printing a credential does not show it. */
  readonly users: ReadonlyMap<ByteString, UpstreamCredential>
  readonly errors: ConfigFileError[]
}

/** SHA-256's length: that of both SCRAM keys. */
const SCRAM_KEY_LENGTH = 32

/** A password message must stay below PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH. */
const MAX_PASSWORD_LENGTH = 60_000

const KEYS = ['password', 'scram_client_key', 'scram_server_key']

const text = z.string('must be a string')

const userSchema = z
  .strictObject(
    {
      password: z
        .union(
          [text, z.strictObject({ file: text }), z.strictObject({ env: text })],
          'must be a string, { file = "…" } or { env = "…" }',
        )
        .optional(),
      scram_client_key: text.optional(),
      scram_server_key: text.optional(),
    },
    { error: (issue) => (issue.code === 'invalid_type' ? 'must be a table' : undefined) },
  )
  .superRefine((user, context) => {
    const keys = [user.scram_client_key, user.scram_server_key].filter((key) => key !== undefined)
    if (user.password === undefined ? keys.length !== 2 : keys.length !== 0) {
      const message = 'needs either password, or scram_client_key and scram_server_key'
      context.addIssue({ code: 'custom', message })
    }
  })

type User = z.infer<typeof userSchema>

/**
 * Reads a users file, a TOML table for each role. The file, and every file it names, must be closed to
 * group and others as PostgreSQL wants it of `ssl_key_file`; relative paths start at the file.
 *
 * @returns every error there is, none of which shows a secret; `users` leaves out what has one.
 * @example
 * ```toml
 * [alice]
 * password = "secret"       # or { file = "alice.pw" } or { env = "ALICE_PW" }
 * [bob]                     # libpq 18's names
 * scram_client_key = "2jmj7l5rSw0yVb/vlWAYkK/YBwk="
 * scram_server_key = "…"
 * ```
 */
export function loadUsersFile(file: string): UsersFile {
  const users = new Map<ByteString, UpstreamCredential>()
  const errors: ConfigFileError[] = []
  const source = read(file, errors)
  if (source === undefined) {
    return { users, errors }
  }
  const lineOf = tomlLines(source.text)
  for (const [role, table] of Object.entries(source.tables)) {
    try {
      users.set(roleName(role), credential(table, path.dirname(file)))
    } catch (error) {
      if (!(error instanceof Problem)) {
        throw error
      }
      errors.push(locate(error, { file, role, lineOf }))
    }
  }
  return { users, errors }
}

/** What is wrong with one role. Its message never holds a value from the file. */
class Problem extends Error {
  readonly key: string | undefined
  readonly hint: string | undefined

  constructor(message: string, key?: string, hint?: string) {
    super(message)
    this.key = key
    this.hint = hint
  }
}

function locate(
  problem: Problem,
  { file, role, lineOf }: { readonly file: string; readonly role: string; readonly lineOf: LineOf },
): ConfigFileError {
  const line = lineOf(role, problem.key)
  const at = [role, problem.key].filter((part) => part !== undefined).join('.')
  return new ConfigFileError(`${at}: ${problem.message}`, {
    file,
    ...(line === undefined ? {} : { line }),
    ...(problem.hint === undefined ? {} : { hint: problem.hint }),
  })
}

function read(
  file: string,
  errors: ConfigFileError[],
): { readonly text: string; readonly tables: Readonly<Record<string, unknown>> } | undefined {
  try {
    const text = readSecretFile(file)
    return { text, tables: parse(text) }
  } catch (error) {
    // No `cause`: the parser's error quotes the lines around the mistake.
    errors.push(
      error instanceof TomlError
        ? new ConfigFileError(firstLine(error.message), { file, line: error.line })
        : new ConfigFileError(`could not load users file: ${whyUnreadable(error)}`, { file }),
    )
    return undefined
  }
}

function firstLine(message: string): string {
  return message.slice(0, message.search(/\n|$/))
}

function roleName(role: string): ByteString {
  const name = fromText(role)
  if (name.length === 0 || name.length > MAX_NAME_LENGTH || name.includes('\0')) {
    throw new Problem(`a role name has 1 to ${MAX_NAME_LENGTH} bytes, none of them NUL`)
  }
  return name
}

function credential(table: unknown, directory: string): UpstreamCredential {
  const { password, scram_client_key, scram_server_key } = checkUser(table)
  if (password !== undefined) {
    return hiddenCredential({ password: checkPassword(readPassword(password, directory)) })
  }
  return hiddenCredential({
    scramClientKey: decodeKey(scram_client_key, 'scram_client_key'),
    scramServerKey: decodeKey(scram_server_key, 'scram_server_key'),
  })
}

function checkUser(table: unknown): User {
  const parsed = userSchema.safeParse(table)
  if (parsed.success) {
    return parsed.data
  }
  const [issue] = parsed.error.issues
  if (issue?.code === 'unrecognized_keys') {
    const [unknown = ''] = issue.keys
    const nearest = nearestName(unknown, KEYS)
    const hint = nearest === undefined ? undefined : `Perhaps you meant "${nearest}".`
    throw new Problem('unknown key', unknown, hint)
  }
  const [key] = issue?.path ?? []
  throw new Problem(issue?.message ?? 'is not valid', key === undefined ? undefined : String(key))
}

function readPassword(password: NonNullable<User['password']>, directory: string): string {
  if (typeof password === 'string') {
    return password
  }
  if ('env' in password) {
    const value = process.env[password.env]
    if (value === undefined) {
      throw new Problem(`environment variable "${password.env}" is not set`, 'password')
    }
    return value
  }
  try {
    return readSecretFile(path.resolve(directory, password.file)).replace(/\r?\n$/, '')
  } catch (error) {
    throw new Problem(`could not load password file: ${whyUnreadable(error)}`, 'password')
  }
}

function checkPassword(password: string): string {
  if (password === '') {
    throw new Problem('must not be empty', 'password')
  }
  if (password.includes('\0') || password.includes('\ufffd')) {
    throw new Problem('must be UTF-8 without NUL', 'password')
  }
  if (Buffer.byteLength(password) > MAX_PASSWORD_LENGTH) {
    throw new Problem(`must have at most ${MAX_PASSWORD_LENGTH} bytes`, 'password')
  }
  return password
}

function decodeKey(value: string | undefined, key: string): Buffer {
  const bytes = Buffer.from(value ?? '', 'base64')
  if (bytes.length !== SCRAM_KEY_LENGTH || bytes.toString('base64') !== value) {
    throw new Problem(`must be ${SCRAM_KEY_LENGTH} bytes in base64`, key)
  }
  return bytes
}
