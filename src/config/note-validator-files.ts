/**
 * The files that validators are made of, as far as names in `oauth_validator_libraries` are paths: packages and
 * bundled modules are not edited in place.
 *
 * @module
 */
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { noteFile } from './files-read.ts'
import type { Settings } from './settings.ts'

/** Leaves a note of each. */
export function noteValidatorFiles({
  oauthValidatorLibraries,
  baseDirectory,
}: Pick<Settings, 'oauthValidatorLibraries' | 'baseDirectory'>): void {
  for (const name of oauthValidatorLibraries) {
    const file = fileOf(name, baseDirectory)
    if (file !== undefined) {
      noteFile(file)
    }
  }
}

function fileOf(name: string, baseDirectory: string): string | undefined {
  if (/^\.{1,2}[/\\]/.test(name) || path.isAbsolute(name)) {
    return path.resolve(baseDirectory, name)
  }
  try {
    return name.startsWith('file:') ? fileURLToPath(name) : undefined
  } catch {
    return undefined
  }
}
