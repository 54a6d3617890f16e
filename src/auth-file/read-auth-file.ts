/**
 * Rules and maps files as records of words (`hba.c: tokenize_auth_file()`, PostgreSQL 19): joined
 * lines, quotes, comments, `@file`, `include`, `include_if_exists` and `include_dir`.
 *
 * Nothing here knows what a word means.
 *
 * @module
 */
import { type ByteString, fromText, toText } from '../byte-string.ts'
import { ConfigFileError } from '../errors.ts'
import type { AuthToken } from './auth-token.ts'
import { configFilesIn, configLocation } from './config-location.ts'
import { type LogicalLine, logicalLines } from './logical-lines.ts'
import { type OpenFile, openFile } from './read-file.ts'
import { systemErrorReport } from './system-error.ts'
import { scanToken } from './tokenize-line.ts'

/** CONF_FILE_MAX_DEPTH in PostgreSQL: levels below the main file. */
export const MAX_INCLUDE_DEPTH = 10

/** All tokens of all files of one load together; files that include each other multiply. */
export const MAX_AUTH_TOKENS: number = 3_000_000

/** One line that says something (`TokenizedAuthLine`). */
export interface AuthRecord {
  readonly file: string
  /** The first physical line, from 1. */
  readonly line: number
  /** The line after joining, comments and quotes included. */
  readonly raw: ByteString
  /** A field is a list of tokens joined by commas, never empty. */
  readonly fields: readonly (readonly AuthToken[])[]
  /** Why the line could not be read, as PostgreSQL's views word it; such a record is not parsed. */
  readonly error?: string
}

/** What {@link readAuthFile} found. */
export interface AuthFile {
  /** In the order in which they count. Those with an `error` are also in `errors`. */
  readonly records: readonly AuthRecord[]
  /** All errors of all files, as PostgreSQL logs them. */
  readonly errors: readonly ConfigFileError[]
  /** Files and directories that were looked at, also those that are not there. */
  readonly files: readonly ByteString[]
}

/**
 * Reads a rules or maps file and all that it includes. Never throws for what is in the files.
 *
 * @example
 * ```ts
 * const { records, errors } = readAuthFile('/etc/pgbearer/pg_hba.conf')
 * ```
 */
export function readAuthFile(path: string, { maxTokens = MAX_AUTH_TOKENS } = {}): AuthFile {
  const reader = new AuthFileReader(maxTokens)
  reader.read(fromText(path), 0, { file: path })
  return { records: reader.records, errors: reader.errors, files: [...reader.files] }
}

interface Place {
  readonly file: string
  readonly line?: number
}

interface Failure {
  readonly code: string
  readonly text: string
}

const MAX_SHARED_WORDS = 1000

const DIRECTIVES = new Set<string>(['include', 'include_if_exists', 'include_dir'])

class AuthFileReader {
  readonly records: AuthRecord[] = []
  readonly errors: ConfigFileError[] = []
  readonly files = new Set<ByteString>()
  readonly #maxTokens: number
  #tokens = 0
  readonly #words = new Map<ByteString, readonly AuthToken[]>()
  readonly #contents = new Map<ByteString, ByteString>()

  constructor(maxTokens: number) {
    this.#maxTokens = maxTokens
  }

  /** Adds a file's records; `from` is where a failure to open it is reported. */
  read(path: ByteString, depth: number, from: Place, records = this.records): Failure | undefined {
    const file = toText(path)
    if (depth > MAX_INCLUDE_DEPTH) {
      const text = `could not open file "${file}": maximum nesting depth exceeded`
      return this.#fail(from, text, { sqlState: 'XX000' })
    }
    const content = this.#content(path, file, from)
    if (typeof content !== 'string') {
      return content
    }
    for (const line of logicalLines(content)) {
      if (this.#tokens > this.#maxTokens) {
        return undefined
      }
      this.#addLine(path, file, line, depth, records)
    }
    return undefined
  }

  #content(path: ByteString, file: string, from: Place): ByteString | Failure {
    const known = this.#contents.get(path)
    if (known !== undefined) {
      return known
    }
    this.files.add(path)
    let open: OpenFile
    try {
      open = openFile(path)
    } catch (error) {
      const { code, sqlState, text } = systemErrorReport(error)
      return this.#fail(from, `could not open file "${file}": ${text}`, { sqlState, code })
    }
    try {
      const content = open.read()
      this.#contents.set(path, content)
      return content
    } catch (error) {
      // PostgreSQL logs this and goes on as if the file were empty, and so do its views. Differs from
      // PostgreSQL: here it is an error like any other, and the rules are refused.
      const { sqlState, text } = systemErrorReport(error)
      this.#fail({ file, line: 1 }, `could not read file "${file}": ${text}`, { sqlState })
      return '' as ByteString
    } finally {
      open.close()
    }
  }

  #addLine(
    path: ByteString,
    file: string,
    line: LogicalLine,
    depth: number,
    records: AuthRecord[],
  ): void {
    const place = { file, line: line.number }
    const { fields, error } = this.#fields(path, line, depth, place)
    const record = { ...place, raw: line.text, fields }
    if (error !== undefined) {
      records.push({ ...record, error })
      return
    }
    const [word, location] = fields
    if (word?.[0] === undefined) {
      return
    }
    if (fields.length === 2 && location?.[0] !== undefined && DIRECTIVES.has(word[0].value)) {
      const failure = this.#include(word[0].value, location[0].value, path, depth, place, records)
      if (failure !== undefined) {
        records.push({ ...record, error: failure })
      }
      return
    }
    records.push(record)
  }

  #fields(
    path: ByteString,
    line: LogicalLine,
    depth: number,
    place: Place,
  ): { fields: (readonly AuthToken[])[]; error?: string } {
    const fields: (readonly AuthToken[])[] = []
    if (line.unreadable !== undefined) {
      return { fields, error: this.#fail(place, line.unreadable).text }
    }
    let at = 0
    while (at < line.text.length) {
      const field: AuthToken[] = []
      let comma = true
      while (comma) {
        const scanned = scanToken(line.text, at)
        if (scanned === undefined) {
          at = line.text.length
          break
        }
        at = scanned.next
        comma = scanned.comma
        const error = this.#addToken(path, scanned.token, depth, place, field)
        if (error !== undefined) {
          return { fields: field.length > 0 ? [...fields, field] : fields, error }
        }
      }
      // A field that is only an empty @file vanishes, as in PostgreSQL.
      if (field.length > 0) {
        fields.push(this.#shared(field))
      }
    }
    return { fields }
  }

  /** One value for all fields that are the same short word: most words of a large file are few. */
  #shared(field: readonly AuthToken[]): readonly AuthToken[] {
    const [token] = field
    if (field.length !== 1 || token === undefined || token.quoted || token.value.length > 64) {
      return field
    }
    const known = this.#words.get(token.value)
    if (known === undefined && this.#words.size < MAX_SHARED_WORDS) {
      this.#words.set(token.value, field)
    }
    return known ?? field
  }

  #addToken(
    path: ByteString,
    token: AuthToken,
    depth: number,
    place: Place,
    field: AuthToken[],
  ): string | undefined {
    const exhausted = this.#tokens > this.#maxTokens
    this.#tokens++
    if (this.#tokens > this.#maxTokens) {
      const text = `more than ${this.#maxTokens} words in all files together`
      return exhausted ? text : this.#fail(place, text).text
    }
    if (token.quoted || token.value.length < 2 || !token.value.startsWith('@')) {
      field.push(token)
      return undefined
    }
    const records: AuthRecord[] = []
    const location = configLocation(token.value.slice(1) as ByteString, path)
    const failure = this.read(location, depth + 1, place, records)
    if (failure !== undefined) {
      return failure.text
    }
    for (const record of records) {
      if (record.error !== undefined) {
        return record.error
      }
      for (const inner of record.fields) {
        this.#tokens += inner.length
        field.push(...inner)
      }
    }
    return undefined
  }

  /** The view's text of what went wrong. */
  #include(
    directive: string,
    location: ByteString,
    path: ByteString,
    depth: number,
    place: Place,
    records: AuthRecord[],
  ): string | undefined {
    if (directive === 'include_dir') {
      return this.#includeDirectory(location, path, depth, place, records)
    }
    const target = configLocation(location, path)
    const before = this.errors.length
    const failure = this.read(target, depth + 1, place, records)
    if (directive === 'include_if_exists' && failure?.code === 'ENOENT') {
      this.errors.length = before
      return undefined
    }
    return failure?.text
  }

  #includeDirectory(
    location: ByteString,
    path: ByteString,
    depth: number,
    place: Place,
    records: AuthRecord[],
  ): string | undefined {
    if (/^[ \t\r\n]*$/.test(location)) {
      return this.#fail(place, `empty configuration directory name: "${toText(location)}"`, {
        sqlState: '22023',
        viewMessage: 'empty configuration directory name',
      }).text
    }
    const files = this.#directory(configLocation(location, path), place)
    if (typeof files === 'string') {
      return files
    }
    const texts: string[] = []
    for (const file of files) {
      const failure = this.read(file, depth + 1, place, records)
      // After a failure PostgreSQL repeats its text for every file that follows.
      const text = failure?.text ?? texts.at(-1)
      if (text !== undefined) {
        texts.push(text)
      }
    }
    return texts.length === 0 ? undefined : texts.join('\n')
  }

  #directory(directory: ByteString, place: Place): readonly ByteString[] | string {
    this.files.add(directory)
    try {
      return configFilesIn(directory)
    } catch (error) {
      const { sqlState, text } = systemErrorReport(error)
      const { syscall, path } = error as NodeJS.ErrnoException
      const name = toText(directory)
      if (syscall === 'stat') {
        const file = Buffer.isBuffer(path) ? path.toString() : (path ?? name)
        return this.#fail(place, `could not stat file "${file}": ${text}`, {
          sqlState,
          viewMessage: `could not stat file "${file}"`,
        }).text
      }
      return this.#fail(place, `could not open configuration directory "${name}": ${text}`, {
        sqlState,
        viewMessage: `could not open directory "${name}"`,
      }).text
    }
  }

  #fail(
    place: Place,
    message: string,
    { code = '', ...options }: { sqlState?: string; viewMessage?: string; code?: string } = {},
  ): Failure {
    this.errors.push(new ConfigFileError(message, { ...place, ...options }))
    return { code, text: options.viewMessage ?? message }
  }
}
