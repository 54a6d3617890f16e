/**
 * The files that validators are made of, as far as names in `oauth_validator_libraries` are paths: packages and
 * bundled modules are not edited in place.
 *
 * @module
 */
import { fileURLToPath, pathToFileURL } from 'node:url'
import { readModuleVersion } from '../validator/module-version.ts'
import { validatorFile } from '../validator/resolve-validator-name.ts'
import { noteFile } from './files-read.ts'
import type { Settings } from './settings.ts'

/** Leaves a note of each, and of what they import by a relative path. */
export async function noteValidatorFiles({
  oauthValidatorLibraries,
  baseDirectory,
}: Pick<Settings, 'oauthValidatorLibraries' | 'baseDirectory'>): Promise<void> {
  for (const name of oauthValidatorLibraries) {
    const file = validatorFile(name, baseDirectory)
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
