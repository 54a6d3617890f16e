/**
 * The files that validators are made of, as far as names in `oauth_validator_libraries` are paths: packages and
 * bundled modules are not edited in place.
 *
 * @module
 */
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { readModuleVersion } from '../validator/module-version.ts'
import { noteFile } from './files-read.ts'
import type { Settings } from './settings.ts'

/** Leaves a note of each, and of what they import by a relative path. */
export async function noteValidatorFiles({
  oauthValidatorLibraries,
  baseDirectory,
}: Pick<Settings, 'oauthValidatorLibraries' | 'baseDirectory'>): Promise<void> {
  for (const name of oauthValidatorLibraries) {
    const file = fileOf(name, baseDirectory)
    if (file === undefined) {
      continue
    }
    noteFile(file)
    const { files } = await readModuleVersion(pathToFileURL(file).href)
    for (const url of files.keys()) {
      noteFile(fileURLToPath(url))
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
