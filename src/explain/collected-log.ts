/**
 * A log that keeps its lines.
 *
 * @module
 */
import type { Log, LogFields, LogLevel } from '../log.ts'

/** One line of a log, without its time. */
export interface CollectedLine {
  readonly level: LogLevel
  readonly message: string
  readonly fields: LogFields
}

/** Keeps lines from `log` on; debugging is nobody's answer. */
export class CollectedLog implements Log {
  readonly lines: CollectedLine[]
  readonly #bound: LogFields

  constructor(bound: LogFields = {}, lines: CollectedLine[] = []) {
    this.#bound = bound
    this.lines = lines
  }

  debug(): void {}

  log(message: string, fields?: LogFields): void {
    this.#keep('log', message, fields)
  }

  warning(message: string, fields?: LogFields): void {
    this.#keep('warning', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.#keep('error', message, fields)
  }

  fatal(message: string, fields?: LogFields): void {
    this.#keep('fatal', message, fields)
  }

  child(fields: LogFields): CollectedLog {
    return new CollectedLog({ ...this.#bound, ...fields }, this.lines)
  }

  #keep(level: LogLevel, message: string, fields: LogFields = {}): void {
    const known = Object.entries({ ...this.#bound, ...fields }).filter(([, v]) => v !== undefined)
    this.lines.push({ level, message, fields: Object.fromEntries(known) })
  }
}
