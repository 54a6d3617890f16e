/** What `new-validator` writes works as it stands, and `check-validator` says what a module says. */
import { spawnSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkValidator, type CheckValidatorOptions } from '../../src/commands/check-validator.ts'
import { newValidator } from '../../src/commands/new-validator.ts'
import { piecesIn, TOKEN } from '../validator/support.ts'
import { fixtureValidator } from '../support/oauth-proxy.ts'
import { type Configuration, configure, UPSTREAM } from './support.ts'

interface Told {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

async function told(
  command: (output: {
    answer: (text: string) => void
    complain: (text: string) => void
  }) => Promise<number>,
): Promise<Told> {
  const said = { stdout: '', stderr: '' }
  const status = await command({
    answer: (text) => {
      said.stdout += text
    },
    complain: (text) => {
      said.stderr += text
    },
  })
  return { status, ...said }
}

const KEY = 'a secret key of 32 characters or more'

function token(changes: object = {}): string {
  const claims = {
    iss: 'https://login.example.com',
    aud: 'databases',
    sub: 'ali@example.com',
    scope: 'db',
    exp: 4e9,
    ...changes,
  }
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url')
  return `${payload}.${createHmac('sha256', KEY).update(payload).digest('base64url')}`
}

/** A directory in which pgbearer is installed. */
function installed(): Configuration {
  const place = configure({
    'pgbearer.toml': `[validators.acme]\naudience = "databases"\nkey_file = "acme.key"\n${UPSTREAM}`,
    'acme.key': KEY,
  })
  mkdirSync(place.path('node_modules'))
  symlinkSync(path.resolve('.'), place.path('node_modules/pgbearer'))
  return place
}

const make = (place: Configuration, name: string, ts = false): Promise<Told> =>
  told((output) => newValidator(name, { ts, directory: place.directory }, output))

describe('new-validator', () => {
  it('writes a module that passes every case of its own test', async () => {
    const place = installed()
    expect(await make(place, 'acme')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('acme/acme.js'),
    })
    expect(readdirSync(place.path('acme')).sort()).toEqual([
      'README.md',
      'acme.js',
      'acme.test.js',
      'package.json',
    ])
    // Not as a part of the run that we are in.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const run = spawnSync(process.execPath, ['--test'], {
      cwd: place.path('acme'),
      encoding: 'utf8',
      env,
    })
    expect(run.stdout).toMatch(/(#|ℹ) fail 0/)
    expect(run.stdout).toMatch(/(#|ℹ) pass 1[0-9]/)
    expect(run.status).toBe(0)
  }, 60_000)

  it.each([false, true])(
    'writes what the compiler has nothing to say about (--ts: %s)',
    async (ts) => {
      const place = installed()
      await make(place, 'acme', ts)
      const ending = ts ? 'ts' : 'js'
      const compilerOptions = {
        module: 'nodenext',
        target: 'es2023',
        strict: true,
        noUncheckedIndexedAccess: true,
        erasableSyntaxOnly: true,
        allowImportingTsExtensions: true,
        allowJs: true,
        checkJs: true,
        noEmit: true,
        skipLibCheck: true,
        types: ['node'],
        typeRoots: [path.resolve('node_modules/@types')],
      }
      const config = {
        compilerOptions,
        include: [`acme/acme.${ending}`, `acme/acme.test.${ending}`],
      }
      const project = place.write('tsconfig.json', JSON.stringify(config))
      const compiler = path.resolve('node_modules/typescript/bin/tsc')
      const run = spawnSync(process.execPath, [compiler, '-p', project], { encoding: 'utf8' })
      expect(run.stdout).toBe('')
      expect(run.status).toBe(0)
    },
    60_000,
  )

  it.each(['jwt', 'Acme', '../acme', 'acme.js', ''])('refuses the name "%s"', async (name) => {
    const place = configure({})
    expect(await make(place, name)).toMatchObject({ status: 2, stdout: '' })
    expect(readdirSync(place.directory)).toEqual([])
  })

  it('overwrites nothing', async () => {
    const place = configure({ 'acme/notes.txt': 'mine' })
    expect(await make(place, 'acme')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('is there already'),
    })
    expect(readdirSync(place.path('acme'))).toEqual(['notes.txt'])
  })
})

function check(
  module: string,
  place: Configuration,
  text: string,
  options: Partial<CheckValidatorOptions> = {},
): Promise<Told> {
  const tokenFile = place.write('token', `${text}\n`)
  return told((output) => checkValidator(module, { role: 'ali', tokenFile, ...options }, output))
}

describe('check-validator', () => {
  const acme = async (): Promise<{
    place: Configuration
    module: string
    options: Partial<CheckValidatorOptions>
  }> => {
    const place = installed()
    await make(place, 'acme')
    const options = { config: place.config, issuer: 'https://login.example.com', scope: 'db' }
    return { place, module: place.path('acme/acme.js'), options }
  }

  it('prints decision, identity and times, and never the token', async () => {
    const { place, module, options } = await acme()
    const ran = await check(module, place, token(), options)
    expect(ran.status).toBe(0)
    expect(ran.stdout).toMatch(
      /^accepted, identity "ali@example\.com"\na rule for this needs a map that lets "ali@example\.com" be "ali"\nthe token expires at 2096-\S+\nstartup \d+\.\d ms, validate \d+\.\d ms, shutdown \d+\.\d ms\n$/,
    )
    expect(piecesIn(ran.stdout + ran.stderr, token())).toEqual([])
  })

  it.each([
    ['a token that has expired', { exp: 1 }, {}, 'refused (expired): the token has expired'],
    ['another audience', { aud: 'mail' }, {}, 'refused (wrong_audience)'],
    ['delegation', {}, { delegate: true }, 'refused (delegation)'],
  ])('exits 2 for %s', async (_what, claims, more, answer) => {
    const { place, module, options } = await acme()
    const ran = await check(module, place, token(claims), { ...options, ...more })
    expect(ran).toMatchObject({ status: 2, stdout: expect.stringContaining(answer) })
  })

  it('exits 2 for what is no token, and does not ask', async () => {
    const { place, module, options } = await acme()
    const ran = await check(module, place, 'two words', options)
    expect(ran).toMatchObject({
      status: 2,
      stdout: expect.stringContaining('the module is not asked'),
    })
    expect(ran.stdout).toContain('validate did not run')
  })

  it.each([
    ['throws-the-token', 'internal error (threw)'],
    ['throws-in-startup', 'internal error (threw): startup threw'],
    ['returns-true', 'internal error (bad_result)'],
    ['calls-process-exit', 'internal error (crashed)', 'exit'],
  ])('exits 1 where the module fails: %s', async (name, answer, role = 'ali') => {
    const ran = await check(fixtureValidator(name), configure({}), TOKEN, { role })
    expect(ran).toMatchObject({ status: 1, stdout: expect.stringContaining(answer) })
    expect(piecesIn(ran.stdout + ran.stderr, TOKEN)).toEqual([])
  })

  it.each([
    ['with-schema', { option: ['tenat=x'] }, 1],
    ['with-options', { option: ['nonsense=1'] }, 1],
  ])('exits 1 for options that the module %s refuses', async (name, options, status) => {
    expect(await check(fixtureValidator(name), configure({}), 'anything', options)).toMatchObject({
      status,
      stdout: expect.stringContaining('validator.'),
    })
  })

  it('exits 1 where there is no module, no token or no setting, and says which', async () => {
    const { place, module } = await acme()
    expect(await check('./nowhere.js', place, 'x')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no such file'),
    })
    expect(await check(module, place, 'x')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('"audience" is missing'),
    })
    expect(await check(module, place, '')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('there is no token'),
    })
  })
})
