/**
 * Tables as psql aligns them, whatever is in their cells.
 *
 * @module
 */
import { printable } from '../log.ts'

/** What a cell may hold: null is shown as nothing, a list as PostgreSQL writes an array. */
export type Cell = string | number | readonly string[] | null

/** A table's text: header, rule, rows and their number. Numbers stand to the right. */
export function printableTable(
  columns: readonly string[],
  rows: readonly (readonly Cell[])[],
): string {
  const texts = rows.map((row) => row.map(cellText))
  const widths = columns.map((name, at) =>
    texts.reduce((width, row) => Math.max(width, widthOf(row[at] ?? '')), name.length),
  )
  const numeric = columns.map((_, at) => rows.every((row) => typeof (row[at] ?? 0) === 'number'))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => ` ${padded(cell, widths[at] ?? 0, numeric[at] === true)} `)
      .join('|')
      .trimEnd()
  const rule = widths.map((width) => '-'.repeat(width + 2)).join('+')
  const count = rows.length === 1 ? '(1 row)' : `(${rows.length} rows)`
  return [line(columns), rule, ...texts.map(line), count].join('\n')
}

function padded(text: string, width: number, right: boolean): string {
  const blanks = ' '.repeat(Math.max(0, width - widthOf(text)))
  return right ? blanks + text : text + blanks
}

// Near enough for names: a wide character makes a table crooked, never wrong.
function widthOf(text: string): number {
  return Array.from(text).length
}

function cellText(cell: Cell): string {
  if (cell === null) {
    return ''
  }
  return printable(typeof cell === 'object' ? arrayText(cell) : String(cell))
}

/** `array_out()`: an element is quoted where it would be read as something else. */
function arrayText(elements: readonly string[]): string {
  return `{${elements.map(elementText).join(',')}}`
}

function elementText(text: string): string {
  const plain = text !== '' && !/[{}",\\\s]/.test(text) && text.toLowerCase() !== 'null'
  return plain ? text : `"${text.replace(/["\\]/g, '\\$&')}"`
}
