/**
 * A log that keeps its lines.
 *
 * @module
 */
import { BoundLog, type LogFields, type LogLevel } from '../log.ts'

/** One line of a log, without its time. */
export interface CollectedLine {
  readonly level: LogLevel
  readonly message: string
  readonly fields: LogFields
}

/** Keeps lines from `log` on; debugging is nobody's answer. */
export class CollectedLog extends BoundLog {
  readonly lines: CollectedLine[]

  constructor(bound: LogFields = {}, lines: CollectedLine[] = []) {
    super('log', bound)
    this.lines = lines
  }

  child(fields: LogFields): CollectedLog {
    return new CollectedLog({ ...this.bound, ...fields }, this.lines)
  }

  protected write(level: LogLevel, message: string, fields: LogFields): void {
    const known = Object.entries(fields).filter(([, value]) => value !== undefined)
    this.lines.push({ level, message, fields: Object.fromEntries(known) })
  }
}
