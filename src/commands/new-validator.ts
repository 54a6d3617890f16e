/**
 * `pgbearer new-validator`.
 *
 * @module
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { isBundledValidator } from '../validator/resolve-validator-name.ts'
import { moduleText } from './new-validator/module-text.ts'
import { packageText, readmeText, testText } from './new-validator/other-texts.ts'
import { type Output, processOutput } from './output.ts'

const NAME = /^[a-z][a-z0-9_-]{0,63}$/

export interface NewValidatorOptions {
  readonly ts?: boolean
  /** Where the folder is made; default: the working directory. */
  readonly directory?: string
}

/**
 * Makes a folder with a module, its test and a README that work as they stand.
 *
 * @returns the exit code: 0, 1 where it could not be made, 2 for a name that cannot be one.
 */
export async function newValidator(
  name: string,
  { ts = false, directory = '.' }: NewValidatorOptions,
  output: Output = processOutput,
): Promise<number> {
  if (!NAME.test(name) || isBundledValidator(name)) {
    const why = isBundledValidator(name)
      ? 'a bundled module has this name'
      : 'use small letters, digits, "-" and "_"'
    output.complain(`pgbearer: "${name}" cannot be the name of a validator: ${why}\n`)
    return 2
  }
  const folder = path.resolve(directory, name)
  if (existsSync(folder)) {
    output.complain(`pgbearer: "${folder}" is there already\n`)
    return 1
  }
  const ending = ts ? 'ts' : 'js'
  const files = {
    [`${name}.${ending}`]: moduleText(name, ts),
    [`${name}.test.${ending}`]: testText(name, ending),
    'README.md': readmeText(name, ending),
    'package.json': packageText(name),
  }
  mkdirSync(folder, { recursive: true })
  for (const [file, text] of Object.entries(files)) {
    writeFileSync(path.join(folder, file), text, { flag: 'wx' })
  }
  output.answer(
    `${Object.keys(files)
      .map((file) => `${name}/${file}`)
      .join('\n')}\n`,
  )
  output.answer(`next: cd ${name} && npm test\n`)
  return 0
}
