/**
 * `pgbearer.toml` to {@link Settings}, or to every error with its file and line.
 *
 * @module
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parse, TomlError } from 'smol-toml'
import type { z } from 'zod'
import { systemErrorReport } from '../auth-file/system-error.ts'
import { ConfigError, ConfigFileError } from '../errors.ts'
import { noteFile } from './files-read.ts'
import { settingsErrorMap } from './issue-text.ts'
import { nearestName } from './nearest-name.ts'
import { type Settings, type SettingsInput, settingsSchema, toSettings } from './settings.ts'
import { upstreamOAuthLine, upstreamOAuthNames } from './upstream-oauth.ts'
import { validatorHostSchema } from './validator-hosts.ts'

/**
 * Reads a settings file.
 *
 * @throws ConfigError with all that is wrong with it.
 */
export function loadSettingsFile(file: string): Settings {
  const text = readSettings(file)
  try {
    return parseSettings(parse(text), {
      file,
      baseDirectory: path.dirname(path.resolve(file)),
      text,
    })
  } catch (error) {
    if (error instanceof TomlError) {
      const [message = 'syntax error'] = error.message.split('\n')
      throw new ConfigError([new ConfigFileError(message, { file, line: error.line })])
    }
    throw error
  }
}

/**
 * Checks settings given as an object, as `createServer()` takes them.
 *
 * @param baseDirectory - where relative paths start; default: the working directory.
 * @throws ConfigError
 */
export function settingsFromObject(input: SettingsInput, baseDirectory = process.cwd()): Settings {
  return parseSettings(input, { file: 'settings', baseDirectory })
}

interface Origin {
  readonly file: string
  readonly baseDirectory: string
  /** The text, to find the line of a name in. */
  readonly text?: string
}

/**
 * The text of a settings file.
 *
 * @throws ConfigError where it cannot be read.
 */
export function readSettings(file: string): string {
  noteFile(path.resolve(file))
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const { text, sqlState } = systemErrorReport(cause)
    const message = `could not open file "${file}": ${text}`
    throw new ConfigError([new ConfigFileError(message, { file, sqlState, cause })])
  }
}

function parseSettings(input: unknown, origin: Origin): Settings {
  const parsed = settingsSchema.safeParse(input, { error: settingsErrorMap })
  if (parsed.success) {
    return toSettings(parsed.data, origin.baseDirectory)
  }
  const errors = parsed.error.issues.flatMap((issue) => describeIssue(issue, origin))
  // What is missing has no line, and comes last.
  const END = Number.MAX_SAFE_INTEGER
  throw new ConfigError(errors.sort((left, right) => (left.line ?? END) - (right.line ?? END)))
}

function describeIssue(issue: z.core.$ZodIssue, origin: Origin): ConfigFileError[] {
  if (issue.code !== 'unrecognized_keys') {
    const name = issue.path.join('.')
    const message =
      issue.message === 'is required'
        ? `parameter "${name}" is required`
        : `invalid value for parameter "${name}": ${issue.message}`
    return [configError(message, issue.path, origin)]
  }
  return issue.keys.map((key) => {
    const place = [...issue.path, key]
    const meant = nearestName(key, namesAt(issue.path))
    const message = `unrecognized configuration parameter "${place.join('.')}"`
    const guess =
      meant === undefined ? '' : `, perhaps you meant "${[...issue.path, meant].join('.')}"`
    return configError(message + guess, place, origin)
  })
}

function configError(
  message: string,
  place: readonly PropertyKey[],
  { file, text }: Origin,
): ConfigFileError {
  const line = text === undefined ? undefined : lineOf(text, place)
  return new ConfigFileError(message, { file, ...(line === undefined ? {} : { line }) })
}

/** The names of settings that there are at a place: at the top, or in a table of ours. */
export function namesAt(place: readonly PropertyKey[]): readonly string[] {
  const { shape } = settingsSchema
  if (place[0] === 'validator_hosts') {
    return Object.keys(validatorHostSchema.shape)
  }
  if (isInUpstreamOAuth(place)) {
    return upstreamOAuthNames(place.length > 2)
  }
  return Object.keys(place[0] === 'upstream' ? shape.upstream.shape : shape)
}

function isInUpstreamOAuth([first, second]: readonly PropertyKey[]): boolean {
  return first === 'upstream' && second === 'oauth'
}

/** The line that sets a name, or else that of its table; undefined where neither is plain. */
function lineOf(text: string, place: readonly PropertyKey[]): number | undefined {
  if (isInUpstreamOAuth(place)) {
    return upstreamOAuthLine(text, place)
  }
  const key = String(place[0] === 'upstream' ? place[1] : place[0])
  const wantedTable = place[0] === 'upstream' ? 'upstream' : ''
  let table = ''
  let tableLine: number | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*\[+\s*([^\]]*?)\s*\]/.exec(line)
    table = header?.[1] ?? table
    if (header !== null && table === wantedTable) {
      tableLine ??= index + 1
    }
    const name = header?.[1]?.split('.')[0] ?? /^\s*"?([\w-]+)"?\s*[.=]/.exec(line)?.[1]
    const inPlace = header === null ? table === wantedTable : true
    if (inPlace && name === key) {
      return index + 1
    }
  }
  return tableLine
}
