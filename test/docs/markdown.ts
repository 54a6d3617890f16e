/** Tables of our own pages. */
import { readFileSync } from 'node:fs'

/** A page of `docs/`. */
export function page(name: string): string {
  return readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')
}

/** The text from a heading to the next of its level or above. */
export function section(text: string, heading: string): string {
  const lines = text.split('\n')
  const start = lines.indexOf(heading)
  if (start === -1) {
    throw new Error(`there is no section "${heading}"`)
  }
  const level = /^#+/.exec(heading)?.[0].length ?? 1
  const end = lines.findIndex(
    (line, index) => index > start && (/^#+(?= )/.exec(line)?.[0].length ?? 9) <= level,
  )
  return lines.slice(start + 1, end === -1 ? undefined : end).join('\n')
}

/** The text above the first heading below the first. */
export function withoutSubsections(text: string): string {
  return text.split(/\n#+ /)[0] ?? ''
}

/** The cells of each row below the heads of its tables. */
export function tableRows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|') && !line.startsWith('| ---'))
    .map((line) =>
      line
        .slice(1, line.lastIndexOf('|'))
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    )
}

/** What stands in backquotes. */
export function codeSpans(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
}

/** The names of a first cell; `.shape` after `authorization.claim` is `authorization.shape`. */
export function namesIn(cell: string): string[] {
  const names: string[] = []
  for (const code of codeSpans(cell)) {
    const stem = names[0]?.split('.').slice(0, -1).join('.') ?? ''
    names.push(code.startsWith('.') ? `${stem}${code}` : code)
  }
  return names
}

/** True where the word stands in the text on its own. */
export function mentions(text: string, word: string): boolean {
  return new RegExp(`(?<![\\w-])${word}(?![\\w-])`).test(text)
}
