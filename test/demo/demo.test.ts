import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { describe, expect, test } from 'vitest'

import { httpClient, postForJson } from '../../src/demo/authorization-client.ts'
import { DEMO_PACKAGES } from '../../src/demo/development-packages.ts'
import { type Program, runCli, startCli, startProgram } from '../support/child-process.ts'
import { eventually, processesWith } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
// Every JWT begins with these characters, the base64url of `{"`.
const ANY_TOKEN = /eyJ/

/** A demo with a directory of its own for all that it leaves anywhere. */
async function startDemo(...args: readonly string[]): Promise<{ demo: Program; place: string }> {
  const { path: place } = await temporaryDirectory()
  await chmod(place, 0o1777)
  return { demo: startCli(['demo', ...args], { env: { TMPDIR: place } }), place }
}

async function expectNothingLeft(place: string): Promise<void> {
  await eventually(() => readdirSync(place).length === 0 && processesWith(`${place}/`).length === 0)
}

describe('pgbearer demo --once', () => {
  test('shows a login and two refusals, and leaves nothing', async () => {
    const { demo, place } = await startDemo('--once')
    const { status, stdout, stderr } = await demo.ended
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/current_user +alice\n/)
    expect(stdout).toMatch(/pg_backend_pid\(\) +\d+, and PostgreSQL itself has alice there\n/)
    expect(stdout).toMatch(
      /log \| .*connection authenticated: identity="alice" method=oauth \(.*:3\)/,
    )
    expect(
      stdout.match(/FATAL: {2}OAuth bearer authentication failed for user "alice"\n/g),
    ).toHaveLength(2)
    expect(stdout).toMatch(/log \| .*reason="expired"/)
    expect(stdout).toMatch(/log \| .*reason="usermap_mismatch"/)
    expect(stdout + stderr).not.toMatch(ANY_TOKEN)
    // It waits for all of it to be gone before it ends.
    expect(readdirSync(place)).toEqual([])
    expect(processesWith(`${place}/`)).toEqual([])
  })
})

describe('pgbearer demo', () => {
  test('works around a port that is taken', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => {
      // Where somebody else has it, it is taken as well.
      taken.once('error', () => resolve())
      taken.listen(6432, '127.0.0.1', resolve)
    })
    try {
      const { demo } = await startDemo('--once')
      const { status, stdout } = await demo.ended
      expect(status).toBe(0)
      expect(stdout).toMatch(/^ +pgbearer +127\.0\.0\.1:(?!6432$)\d+$/m)
    } finally {
      taken.close()
    }
  })

  test('stays up for clients that can only send a password, until Ctrl-C', async () => {
    const { demo, place } = await startDemo()
    await demo.waitFor(/It runs until you press Ctrl-C/)
    const { rows } = await loginAsPrinted(demo.stdout())
    expect(rows).toEqual([{ user: 'reporter', db: 'legacy' }])
    await expect(loginAsPrinted(demo.stdout(), 'not a token')).rejects.toThrow(
      'password authentication failed for user "reporter"',
    )
    await demo.waitFor(/log \| .*connection authorized: user=reporter database=legacy/)
    demo.kill('SIGINT')
    expect((await demo.ended).status).toBe(0)
    expect(demo.stdout() + demo.stderr()).not.toMatch(ANY_TOKEN)
    expect(readdirSync(place)).toEqual([])
    expect(processesWith(`${place}/`)).toEqual([])
  })

  test.each([/authorization server +http/, /current_user/, /runs until/])(
    'leaves nothing when it is killed at %s',
    async (moment) => {
      const { demo, place } = await startDemo()
      await demo.waitFor(moment)
      demo.kill('SIGKILL')
      await demo.ended
      await expectNothingLeft(place)
    },
  )

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'ends in order when it gets %s while it starts',
    async (signal) => {
      const { demo, place } = await startDemo()
      await demo.waitFor(/PostgreSQL +127/)
      demo.kill(signal)
      expect(await demo.ended).toMatchObject({ status: 0, stderr: '' })
      expect(readdirSync(place)).toEqual([])
    },
  )

  test('ends in order when nobody reads what it says any more', async () => {
    const { demo, place } = await startDemo()
    await demo.waitFor(/PostgreSQL +127/)
    demo.child.stdout.destroy()
    expect(await demo.ended).toMatchObject({ status: 0, stderr: '' })
    expect(readdirSync(place)).toEqual([])
  })

  test('says which packages to install where they are not there', async () => {
    const project = await projectWithout(DEMO_PACKAGES)
    const cli = join(project, 'dist/src/cli.js')
    const program = startProgram(process.execPath, [cli, 'demo', '--once'])
    const { status, stdout, stderr } = await program.ended
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    for (const name of DEMO_PACKAGES) {
      expect(stderr).toContain(`'${name}@`)
    }
    expect(stderr).toContain('npm install --save-dev')
    expect(stderr).not.toContain('    at ')
  })

  test('says which package to install where one is not there', async () => {
    const project = await projectWithout(['koffi'])
    const cli = join(project, 'dist/src/cli.js')
    const { status, stderr } = await startProgram(process.execPath, [cli, 'demo', '--once']).ended
    expect(status).toBe(1)
    expect(stderr).toMatch(/not installed: koffi\n.*npm install --save-dev 'koffi@[^']+'\n$/)
  })

  test('takes no other options', async () => {
    expect(await runCli(['demo', '--twice'])).toMatchObject({ status: 2 })
  })
})

/** Does what the printed command does, with a driver that knows nothing of OAuth. */
async function loginAsPrinted(
  shown: string,
  password?: string,
): Promise<{ rows: { user: string; db: string }[] }> {
  const [, caFile, credentials, issuer] = find(
    shown,
    /--cacert (\S+) -u (\S+)[\s\S]*? (https:\S+)\/token/,
  )
  const [, host, port, user, database] = find(
    shown,
    /PGPASSWORD=\$TOKEN psql "host=(\S+) port=(\d+) user=(\S+) dbname=(\S+)/,
  )
  const ca = readFileSync(caFile!, 'utf8')
  const authorization = `Basic ${Buffer.from(credentials!).toString('base64')}`
  const form = { grant_type: 'client_credentials', scope: 'db' }
  const answer = await postForJson(httpClient(ca), `${issuer}/token`, form, { authorization })
  const client = new Client({
    host: host!,
    port: Number(port),
    user: user!,
    database: database!,
    password: password ?? String(answer['access_token']),
    ssl: { ca },
  })
  await client.connect()
  try {
    return await client.query('SELECT current_user AS user, current_database() AS db')
  } finally {
    await client.end()
  }
}

function find(text: string, pattern: RegExp): RegExpExecArray {
  const found = pattern.exec(text)
  if (found === null) {
    throw new Error(`no ${pattern} in ${text}`)
  }
  return found
}

/** An installation of pgbearer in which some packages are missing. */
async function projectWithout(names: readonly string[]): Promise<string> {
  const { path } = await temporaryDirectory()
  cpSync(join(root, 'dist'), join(path, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(path, 'package.json'))
  for (const name of installedPackages().filter((name) => !names.includes(name))) {
    const link = join(path, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), link)
  }
  return path
}

function installedPackages(): string[] {
  const modules = join(root, 'node_modules')
  return readdirSync(modules)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) =>
      name.startsWith('@')
        ? readdirSync(join(modules, name)).map((part) => `${name}/${part}`)
        : name,
    )
}
