/**
 * The log: one JSON object a line, or text for people, on stderr.
 *
 * Levels are PostgreSQL's severities in lower case. A field must never hold a token or a part of one;
 * nothing here can check that, so nothing is logged that was not named on purpose.
 *
 * @module
 */
import { pino } from 'pino'

export type LogLevel = 'debug' | 'log' | 'warning' | 'error' | 'fatal'
export type LogFields = Readonly<Record<string, unknown>>

/** Where messages go. Embedders may hand in their own. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  /** PostgreSQL's LOG: normal operation that an operator wants to see. */
  log(message: string, fields?: LogFields): void
  warning(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  fatal(message: string, fields?: LogFields): void
  /** A log that adds `fields` to every line. */
  child(fields: LogFields): Log
}

export interface LogOptions {
  /** `json` (the default): one object a line. `text`: for people. */
  readonly format?: 'json' | 'text'
  /** The lowest level that is written; default `log`. */
  readonly level?: LogLevel
  /** Where lines go; default: file descriptor 2, written synchronously so that none is lost. */
  readonly write?: (line: string) => void
}

const LEVELS: Record<LogLevel, number> = { debug: 10, log: 20, warning: 30, error: 40, fatal: 50 }

/**
 * Makes the log of a process.
 *
 * @example
 * ```ts
 * const log = createLog({ format: 'text' })
 * log.log('listening on IPv4 address "127.0.0.1", port 6432')
 * ```
 */
export function createLog(options: LogOptions = {}): Log {
  const write = options.write ?? pinoStderr()
  const level = options.level ?? 'log'
  if (options.format === 'text') {
    return new TextLog(write, level, {})
  }
  const logger = pino(
    {
      base: null,
      level,
      customLevels: LEVELS,
      useOnlyCustomLevels: true,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      nestedKey: undefined as never,
    },
    { write },
  )
  return new JsonLog(logger, level, {})
}

/** A log that keeps nothing. */
export const silentLog: Log = {
  debug() {},
  log() {},
  warning() {},
  error() {},
  fatal() {},
  child: () => silentLog,
}

function pinoStderr(): (line: string) => void {
  const destination = pino.destination({ fd: 2, sync: true })
  return (line) => {
    destination.write(line)
  }
}

type JsonLogger = Record<LogLevel, (fields: LogFields, message: string) => void>

/**
 * A log that writes where its subclass does. A child is only its fields: most connections log nothing, and each
 * of them keeps two.
 */
export abstract class BoundLog implements Log {
  protected readonly lowest: LogLevel
  protected readonly bound: LogFields

  constructor(lowest: LogLevel, bound: LogFields) {
    this.lowest = lowest
    this.bound = bound
  }

  abstract child(fields: LogFields): Log
  protected abstract write(level: LogLevel, message: string, fields: LogFields): void

  debug(message: string, fields?: LogFields): void {
    this.#at('debug', message, fields)
  }

  log(message: string, fields?: LogFields): void {
    this.#at('log', message, fields)
  }

  warning(message: string, fields?: LogFields): void {
    this.#at('warning', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.#at('error', message, fields)
  }

  fatal(message: string, fields?: LogFields): void {
    this.#at('fatal', message, fields)
  }

  #at(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (LEVELS[level] >= LEVELS[this.lowest]) {
      this.write(level, message, { ...this.bound, ...fields })
    }
  }
}

class JsonLog extends BoundLog {
  readonly #logger: JsonLogger

  constructor(logger: JsonLogger, lowest: LogLevel, bound: LogFields) {
    super(lowest, bound)
    this.#logger = logger
  }

  child(fields: LogFields): Log {
    return new JsonLog(this.#logger, this.lowest, { ...this.bound, ...fields })
  }

  protected write(level: LogLevel, message: string, fields: LogFields): void {
    this.#logger[level](fields, message)
  }
}

class TextLog extends BoundLog {
  readonly #write: (line: string) => void

  constructor(write: (line: string) => void, lowest: LogLevel, bound: LogFields) {
    super(lowest, bound)
    this.#write = write
  }

  child(fields: LogFields): Log {
    return new TextLog(this.#write, this.lowest, { ...this.bound, ...fields })
  }

  protected write(level: LogLevel, message: string, fields: LogFields): void {
    this.#write(textLine(level, message, fields))
  }
}

function textLine(level: LogLevel, message: string, fields: LogFields): string {
  const extra = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${printable(asText(value))}`)
    .join('')
  return `${new Date().toISOString()} ${level.toUpperCase()}:  ${printable(message)}${extra}\n`
}

function asText(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : (JSON.stringify(value) ?? '')
}

// Names in messages come from strangers: no control character, line or paragraph separator, or
// direction override of theirs may reach a terminal or start a line of its own.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/**
 * The text with everything that could move a cursor or forge a line replaced by `\uNNNN`.
 *
 * @example
 * ```ts
 * printable('ann\n') // 'ann\\u000a'
 * ```
 */
export function printable(text: string): string {
  return text.replace(
    UNPRINTABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
