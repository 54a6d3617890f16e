/** Where in a TOML text something is written, which the parser does not say. @module */
import { parse } from 'smol-toml'

/** The line of a table, or of a key in it, from 1; `undefined` where it is not written plainly. */
export type LineOf = (table: string, key?: string) => number | undefined

/**
 * Finds tables of the form `[table]` with `key = …` lines below, and `table = { … }` lines above the
 * first of them. A look-alike inside a multi-line string can only make a line number wrong.
 */
export function tomlLines(text: string): LineOf {
  const lines = new Map<string, number>()
  let current: string | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const trimmed = line.trim()
    const key = firstKey(trimmed)
    if (trimmed.startsWith('[')) {
      current = key
    }
    const place = trimmed.startsWith('[') || current === undefined ? [key] : [current, key]
    const name = JSON.stringify(place)
    if (key !== undefined && !lines.has(name)) {
      lines.set(name, index + 1)
    }
  }
  return (table, key) =>
    (key === undefined ? undefined : lines.get(JSON.stringify([table, key]))) ??
    lines.get(JSON.stringify([table]))
}

function firstKey(line: string): string | undefined {
  try {
    return Object.keys(parse(line))[0]
  } catch {
    return undefined
  }
}
