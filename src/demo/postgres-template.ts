/**
 * A data directory that servers start as a copy of: `initdb` takes about a second, a copy a tenth.
 *
 * @module
 */
import { execFile } from 'node:child_process'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { type Account, keep } from './keeper.ts'
import {
  giveTo,
  makeServerDirectory,
  type PostgresInstallation,
  preparePostgresInstallation,
} from './postgres-installation.ts'

const run = promisify(execFile)

/** The role that owns every embedded server. */
export const SUPERUSER = 'postgres'

/** A template that lasts until it is stopped or this program ends. */
export interface PostgresTemplate extends AsyncDisposable {
  /** What `startEmbeddedPostgres({ template })` takes, also in another process. */
  readonly directory: string
  stop(): Promise<void>
}

/**
 * Makes the place of a template, empty. Whoever needs the first server fills it with
 * {@link fillPostgresTemplate}.
 */
export async function createPostgresTemplate(): Promise<PostgresTemplate> {
  const { directory, account } = await makeServerDirectory('pgbearer-template-')
  const kept = keep(directory, account)
  const stop = async (): Promise<void> => {
    await kept.end()
  }
  return { directory, stop, [Symbol.asyncDispose]: stop }
}

/**
 * Fills a template, once however many processes ask for it at the same time.
 *
 * @example
 * ```ts
 * const template = await createPostgresTemplate()
 * await fillPostgresTemplate(template.directory)
 * const server = await startEmbeddedPostgres({ template: template.directory })
 * ```
 */
export async function fillPostgresTemplate(directory: string): Promise<void> {
  const POLL_MS = 20
  if (await makeOnce(join(directory, 'lock'))) {
    const outcome = await fill(directory).then(
      () => '',
      (error: unknown) => String(error),
    )
    await writeFile(join(directory, 'outcome.part'), outcome)
    await rename(join(directory, 'outcome.part'), join(directory, 'outcome'))
  }
  for (;;) {
    const outcome = await readFile(join(directory, 'outcome'), 'utf8').catch(() => undefined)
    if (outcome === '') {
      return
    }
    if (outcome !== undefined) {
      throw new Error(outcome)
    }
    await sleep(POLL_MS)
  }
}

async function makeOnce(directory: string): Promise<boolean> {
  try {
    await mkdir(directory)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      return false
    }
    throw error
  }
}

async function fill(directory: string): Promise<void> {
  const installation = await preparePostgresInstallation(directory)
  await initdb(installation, join(directory, 'data'))
  await writeFile(join(directory, 'installation.json'), JSON.stringify(installation))
  await giveTo(installation.account, directory)
}

/**
 * Fills `data` in a server's directory, from a template where there is one.
 *
 * @returns the installation that the server has to be started from.
 */
export async function makeDataDirectory(
  directory: string,
  template: string | undefined,
): Promise<PostgresInstallation> {
  const data = join(directory, 'data')
  if (template === undefined) {
    const installation = await preparePostgresInstallation(directory)
    await initdb(installation, data)
    return installation
  }
  const installation = JSON.parse(
    await readFile(join(template, 'installation.json'), 'utf8'),
  ) as PostgresInstallation
  await runAs(installation.account, 'cp', ['-R', join(template, 'data'), data])
  return installation
}

async function initdb(installation: PostgresInstallation, data: string): Promise<void> {
  const args = ['-D', data, '-U', SUPERUSER, '-E', 'UTF8', '--locale=C', '--auth=reject']
  // Small WAL segments: less to write here and to copy for every server.
  args.push('--wal-segsize=1', '--no-sync', '--no-instructions')
  await runAs(installation.account, join(installation.binDirectory, 'initdb'), args, {
    ...process.env,
    ...installation.env,
    LC_ALL: 'C',
  })
}

async function runAs(
  account: Account | undefined,
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  await run(program, args, { cwd: '/', env, ...account })
}
