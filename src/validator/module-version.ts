/**
 * Which version of a module its files hold: a hash over the file and all that it imports by a relative path. Packages
 * are left out: they are not edited in place.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

/** How many files of a module are looked at; what is beyond them does not count. */
export const MAX_MODULE_FILES = 1000

/** What the files of a module held when they were read. */
export interface ModuleVersion {
  /** The hash of all files. */
  readonly all: string
  /** The hash of each by its URL, the module's own file first. */
  readonly files: ReadonlyMap<string, string>
}

// Text in a comment or a string counts, too: one file too many is no harm.
const RELATIVE_IMPORT = /(?:\bfrom|\bimport|\brequire)\s*\(?\s*(['"])(\.{1,2}\/[^'"\n]{1,1000})\1/g
const CANDIDATES = ['', '.js', '.cjs', '.json', '/index.js']

/** Reads the files of a module as they are now. A file that cannot be read does not count. */
export async function readModuleVersion(url: string): Promise<ModuleVersion> {
  const files = new Map<string, string>()
  const waiting = [[url]]
  while (files.size < MAX_MODULE_FILES) {
    const candidates = waiting.shift()
    if (candidates === undefined) {
      break
    }
    const found = await readFirst(candidates.filter((file) => !files.has(file)))
    if (found !== undefined && !files.has(found.url)) {
      files.set(found.url, sha256(found.text))
      waiting.push(...importsOf(found))
    }
  }
  const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1))
  return { all: sha256(JSON.stringify(sorted)), files }
}

interface ModuleFile {
  readonly url: string
  readonly text: string
}

async function readFirst(candidates: readonly string[]): Promise<ModuleFile | undefined> {
  for (const url of candidates) {
    const text = await readFile(fileURLToPath(url), 'utf8').catch(() => undefined)
    if (text !== undefined) {
      return { url, text }
    }
  }
  return undefined
}

function importsOf({ url, text }: ModuleFile): string[][] {
  return Array.from(text.matchAll(RELATIVE_IMPORT), ([, , specifier = '']) =>
    CANDIDATES.flatMap((ending) => toFileUrl(specifier + ending, url)),
  )
}

function toFileUrl(specifier: string, from: string): string[] {
  try {
    const { href, protocol, pathname } = new URL(specifier, from)
    return protocol === 'file:' && !pathname.includes('%2F') ? [href.replace(/[?#].*$/, '')] : []
  } catch {
    return []
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

// What this thread has imported under its plain URL: it cannot be imported so again.
const imported = new Map<string, string>()

/**
 * What `import()` takes to get this version in this thread, where another one may have been imported before.
 *
 * @returns undefined with `stale` where a file behind the module has changed since: Node keeps the old one for as
 *   long as the thread lives.
 */
export function specifierOf(
  url: string,
  { files }: ModuleVersion,
): { readonly specifier: string } | { readonly specifier?: undefined; readonly stale: string } {
  for (const [file, hash] of files) {
    const before = imported.get(file)
    if (file !== url && before !== undefined && before !== hash) {
      return { stale: fileURLToPath(file) }
    }
  }
  const own = files.get(url)
  const before = imported.get(url)
  for (const [file, hash] of files) {
    if (!imported.has(file)) {
      imported.set(file, hash)
    }
  }
  if (own === undefined || before === undefined || before === own) {
    return { specifier: url }
  }
  // Of CommonJS the path alone counts.
  Reflect.deleteProperty(createRequire(import.meta.url).cache, fileURLToPath(url))
  return { specifier: `${url}?version=${own.slice(0, 16)}` }
}
