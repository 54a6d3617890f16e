/** Results as text: the median and the quartiles over the rounds. @module */
import { figures, type Results } from './rounds.ts'
import { median, ratios, spread } from './statistics.ts'

/** One figure as a column. */
export interface Column {
  readonly title: string
  /** Name in the samples. */
  readonly figure: string
  /** Digits behind the point; default 0. */
  readonly digits?: number
  /** Show the quartiles, too. */
  readonly quartiles?: boolean
}

export interface TableOptions {
  readonly columns: readonly Column[]
  /** The figure whose ratio to each of the references is shown. */
  readonly ratioOf: string
  /** Contenders that the others are compared with. */
  readonly references: readonly string[]
}

/** Prints a table for each cell. */
export function printTables(results: Results, options: TableOptions): void {
  for (const [cell, contenders] of results) {
    const references = options.references.filter((name) => contenders.has(name))
    const head = [
      cell,
      ...options.columns.map(({ title }) => title),
      ...references.map((name) => `/ ${name}`),
    ]
    const rows = [...contenders].map(([name, samples]) => [
      name,
      ...options.columns.map((column) => shown(figures(samples, column.figure), column)),
      ...references.map((reference) =>
        reference === name
          ? ''
          : withQuartiles(
              ratios(
                figures(samples, options.ratioOf),
                figures(contenders.get(reference), options.ratioOf),
              ),
              2,
            ),
      ),
    ])
    printRows([head, ...rows])
  }
}

/** `1.23 [1.10-1.31]`; nothing for nothing. */
export function withQuartiles(values: readonly number[], digits: number): string {
  const { median: middle, lower, upper } = spread(values)
  return Number.isNaN(middle)
    ? ''
    : `${fixed(middle, digits)} [${fixed(lower, digits)}-${fixed(upper, digits)}]`
}

function shown(values: readonly number[], { digits = 0, quartiles = false }: Column): string {
  if (quartiles) {
    return withQuartiles(values, digits)
  }
  const middle = median(values)
  return Number.isNaN(middle) ? '' : fixed(middle, digits)
}

function fixed(value: number, digits: number): string {
  return value.toLocaleString('en', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
}

/** The first column to the left, the others to the right. */
export function printRows(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  console.log()
  for (const row of rows) {
    const cells = row.map((text, column) =>
      column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0),
    )
    console.log(cells.join('   ').trimEnd())
  }
}
