/**
 * From a name in `oauth_validator_libraries` to the module that it means: a bundled one, a file, or
 * a package.
 *
 * @module
 */
import { stat } from 'node:fs/promises'
import { isAbsolute, join, resolve as resolvePath } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { resolve as resolveSpecifier } from 'import-meta-resolve'
import { ValidatorLoadError } from '../errors.ts'

/** The modules that come with pgbearer, by name. A package of the same name is not looked at. */
export const BUNDLED_VALIDATORS: Readonly<Record<string, string>> = Object.freeze({
  jwt: 'pgbearer/validators/jwt',
  introspection: 'pgbearer/validators/introspection',
  opaque: 'pgbearer/validators/opaque',
  composite: 'pgbearer/validators/composite',
})

/** True for a name that means a module of ours. */
export function isBundledValidator(name: string): boolean {
  return Object.hasOwn(BUNDLED_VALIDATORS, name)
}

/** Where a module comes from, and what `import()` takes. */
export interface ValidatorSource {
  readonly kind: 'bundled' | 'file' | 'package'
  readonly specifier: string
}

/**
 * Finds a module without running any of it.
 *
 * @param baseDirectory - relative paths start here, and packages are looked for from here first.
 * @throws ValidatorLoadError with reason `not_found`.
 */
export async function resolveValidatorName(
  name: string,
  baseDirectory: string,
): Promise<ValidatorSource> {
  const bundled = Object.hasOwn(BUNDLED_VALIDATORS, name) ? BUNDLED_VALIDATORS[name] : undefined
  if (bundled !== undefined) {
    return { kind: 'bundled', specifier: bundled }
  }
  return isPath(name) ? findFile(name, baseDirectory) : findPackage(name, baseDirectory)
}

/** The file that a name points to, whether or not it is there; undefined where the name is no path. */
export function validatorFile(name: string, baseDirectory: string): string | undefined {
  return isPath(name) ? filePath(name, baseDirectory) : undefined
}

function isPath(name: string): boolean {
  return /^(?:\.{1,2}[/\\]|file:)/.test(name) || isAbsolute(name)
}

async function findFile(name: string, baseDirectory: string): Promise<ValidatorSource> {
  const path = filePath(name, baseDirectory)
  const found = path === undefined ? undefined : await stat(path).catch(() => undefined)
  if (path === undefined || found === undefined) {
    throw notFound(name, `no such file "${path ?? name}"`)
  }
  if (!found.isFile()) {
    throw notFound(name, `"${path}" is not a file`)
  }
  return { kind: 'file', specifier: pathToFileURL(path).href }
}

function filePath(name: string, baseDirectory: string): string | undefined {
  if (!name.startsWith('file:')) {
    return resolvePath(baseDirectory, name)
  }
  try {
    return fileURLToPath(name)
  } catch {
    return undefined
  }
}

function findPackage(name: string, baseDirectory: string): ValidatorSource {
  // The file need not exist: resolution starts in its directory.
  const places = [pathToFileURL(join(resolvePath(baseDirectory), '_.js')).href, import.meta.url]
  for (const place of places) {
    const specifier = tryResolve(name, place)
    if (specifier !== undefined) {
      return { kind: 'package', specifier }
    }
  }
  const bundled = Object.keys(BUNDLED_VALIDATORS).join(', ')
  throw notFound(
    name,
    `neither a bundled module (${bundled}) nor a package that is installed beside the settings file or ` +
      'beside pgbearer; a path starts with "./", "../" or "/"',
  )
}

function tryResolve(name: string, place: string): string | undefined {
  try {
    const url = resolveSpecifier(name, place)
    return url.startsWith('file:') ? url : undefined
  } catch {
    return undefined
  }
}

function notFound(name: string, why: string): ValidatorLoadError {
  return new ValidatorLoadError(`could not find OAuth validator module "${name}": ${why}`, {
    validator: name,
    reason: 'not_found',
  })
}
