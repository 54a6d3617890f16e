/**
 * JSON for programs that a person may look at in a terminal.
 *
 * @module
 */
import { printable } from '../log.ts'

/** Indented JSON. What could move a cursor can only be inside strings, and is `\uNNNN` there. */
export function printableJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2).split('\n').map(printable).join('\n')}\n`
}
