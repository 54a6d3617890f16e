import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ValidatorLoadError, type ValidatorLoadReason } from '../../src/errors.ts'
import {
  instantiateValidator,
  type LoadValidatorOptions,
  loadValidator,
} from '../../src/validator/load-validator-module.ts'
import type { LoadedValidator } from '../../src/validator/loaded-validator.ts'
import { BUNDLED_VALIDATORS } from '../../src/validator/resolve-validator-name.ts'
import { FIXTURES, fixture, freshLife, gate, login, readableLog, settle } from './support.ts'

async function failureOf(work: Promise<unknown>): Promise<ValidatorLoadError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(ValidatorLoadError)
  return error as ValidatorLoadError
}

/** Loads a fixture whose file has been read already, so that a short timeout is for its init function. */
async function imported(
  file: string,
  options: Partial<LoadValidatorOptions>,
): Promise<LoadedValidator> {
  const namespace = (await import(pathToFileURL(join(FIXTURES, file)).href)) as object
  return instantiateValidator(`./${file}`, namespace, {
    baseDirectory: FIXTURES,
    issuers: [],
    log: readableLog().log,
    ...options,
  })
}

describe('a module that cannot be used', () => {
  const broken: readonly (readonly [string, ValidatorLoadReason, string])[] = [
    [
      'nowhere.js',
      'not_found',
      'could not find OAuth validator module "./nowhere.js": no such file',
    ],
    ['.', 'not_found', 'is not a file'],
    [
      'throws-at-import.js',
      'not_loadable',
      'could not load OAuth validator module "./throws-at-import.js": Error: the key file is missing',
    ],
    ['missing-dependency.js', 'not_loadable', "'a-package-that-nobody-has-published'"],
    [
      'throws-in-init.js',
      'init_failed',
      'init function of OAuth validator module "./throws-in-init.js" failed: Error: audiences is empty',
    ],
    ['rejects-in-init.js', 'init_failed', 'no issuer'],
    [
      'wrong-api-version.js',
      'wrong_api_version',
      'OAuth validator module "./wrong-api-version.js": apiVersion mismatch: this pgbearer has 1, the module has 2',
    ],
    ['no-api-version.js', 'wrong_api_version', 'the module declares none'],
    [
      'no-validate.js',
      'no_validate',
      'OAuth validator module "./no-validate.js" must provide a "validate" callback',
    ],
    ['validate-is-a-string.js', 'bad_shape', 'has a "validate" that is not a function'],
    ['startup-is-a-number.js', 'bad_shape', 'has a "startup" that is not a function'],
    ['options-is-a-string.js', 'bad_shape', 'neither a list of names nor a Standard Schema'],
    ['option-name-has-a-dot.js', 'bad_shape', 'not made of letters, digits, "_" and "-"'],
    ['default-is-a-number.js', 'bad_shape', 'neither an init function nor an object'],
    ['init-returns-nothing.js', 'bad_shape', 'is undefined, not an object'],
    ['throws-when-looked-at.js', 'bad_shape', 'throws when it is looked at: Error: do not look'],
  ]

  test.each(broken)('%s is refused as %s', async (file, reason, message) => {
    const error = await failureOf(fixture(file))
    expect(error.reason).toBe(reason)
    expect(error.validator).toBe(`./${file}`)
    expect(error.message).toContain(message)
    expect(error.message).toContain(`"./${file}"`)
  })

  test('has its own error as the cause', async () => {
    const error = await failureOf(fixture('rejects-in-init.js'))
    expect(error.cause).toMatchObject({ message: 'no issuer' })
    expect(error.message).toContain('caused by Error: ENOENT')
  })

  test('is given up when it does not finish loading', async () => {
    const error = await failureOf(fixture('never-loads.js', { timeoutMs: 50 }))
    expect(error).toMatchObject({ reason: 'not_loadable' })
    expect(error.message).toContain('it was still loading after 0.05 s')
  })

  test('is given up when its init function does not finish', async () => {
    const error = await failureOf(imported('init-never-settles.js', { timeoutMs: 50 }))
    expect(error).toMatchObject({ reason: 'init_timed_out' })
    expect(error.message).toContain('was still running after 0.05 s')
  })

  test('is disposed of when its init function finishes after it was given up', async () => {
    const init = gate()
    let disposals = 0
    freshLife({
      init: init.opens,
      disposed: () => {
        disposals += 1
      },
    })
    await failureOf(imported('init-is-late.js', { timeoutMs: 20 }))
    init.open()
    await settle()
    expect(disposals).toBe(1)
  })

  test('is disposed of when its init function returns something unusable', async () => {
    let disposals = 0
    freshLife({
      disposed: () => {
        disposals += 1
      },
    })
    expect(await failureOf(fixture('init-returns-half.js'))).toMatchObject({
      reason: 'no_validate',
    })
    expect(disposals).toBe(1)
  })

  test('is not loaded for longer than its caller wants', async () => {
    const aborted = AbortSignal.abort(new Error('the start was stopped'))
    await expect(fixture('init-never-settles.js', { signal: aborted })).rejects.toThrow(
      'the start was stopped',
    )
  })

  test('is refused settings that it has no init function for', async () => {
    const error = await failureOf(
      fixture('accepts-anything.js', { settings: { issuer: 'x', b: 1 } }),
    )
    expect(error.reason).toBe('unexpected_settings')
    expect(error.message).toBe(
      'OAuth validator module "./accepts-anything.js" takes no settings (it has no init function), but it was given "issuer", "b"',
    )
  })
})

describe('a name', () => {
  let directory = ''
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pgbearer-validator-'))
  })
  afterEach(() => rm(directory, { recursive: true }))

  const load = (name: string) =>
    loadValidator(name, { baseDirectory: directory, issuers: [], log: readableLog().log })
  const saying = (authnId: string): string =>
    `export const apiVersion = 1\nexport const validate = () => ({ authorized: true, authnId: '${authnId}' })\n`

  test('that is neither bundled nor installed says where was looked', async () => {
    const error = await failureOf(load('acme-validator'))
    expect(error.reason).toBe('not_found')
    expect(error.message).toContain('could not find OAuth validator module "acme-validator"')
    expect(error.message).toContain(
      `bundled module (${Object.keys(BUNDLED_VALIDATORS).join(', ')})`,
    )
  })

  test.each(['', 'constructor', '__proto__', 'fs', 'node:fs', 'http://127.0.0.1/x.js', 'data:,0'])(
    'such as %j means no module',
    async (name) => {
      expect(await failureOf(load(name))).toMatchObject({ reason: 'not_found', validator: name })
    },
  )

  test.each(['file:relative.js', 'file://elsewhere/x.js', 'file:///no/such.js'])(
    'such as %j means no file',
    async (name) => {
      expect(await failureOf(load(name))).toMatchObject({ reason: 'not_found', validator: name })
    },
  )

  test('of a file with a syntax error says so', async () => {
    await writeFile(join(directory, 'a.mjs'), 'export const apiVersion = ;\n')
    const error = await failureOf(load('./a.mjs'))
    expect(error.reason).toBe('not_loadable')
    expect(error.cause).toBeInstanceOf(Error)
  })

  test('without "./" is no path, even where there is such a file', async () => {
    await writeFile(join(directory, 'acme.mjs'), saying('file'))
    expect(await failureOf(load('acme.mjs'))).toMatchObject({ reason: 'not_found' })
  })

  test('may be a path relative to the settings file, an absolute one or a file URL', async () => {
    const path = join(directory, 'ä b.mjs')
    await writeFile(path, saying('path'))
    for (const name of ['./ä b.mjs', path, pathToFileURL(path).href]) {
      expect(await login(await load(name))).toMatchObject({ authorized: true, authnId: 'path' })
    }
  })

  test('may be a package beside the settings file that has only an import condition', async () => {
    const packageDirectory = join(directory, 'node_modules', '@acme', 'validator')
    await mkdir(packageDirectory, { recursive: true })
    await writeFile(
      join(packageDirectory, 'package.json'),
      JSON.stringify({ name: '@acme/validator', exports: { './db': { import: './db.mjs' } } }),
    )
    await writeFile(join(packageDirectory, 'db.mjs'), saying('package'))
    const loaded = await load('@acme/validator/db')
    expect(loaded.name).toBe('@acme/validator/db')
    expect(await login(loaded)).toMatchObject({ authorized: true, authnId: 'package' })
    expect(await failureOf(load('@acme/validator'))).toMatchObject({ reason: 'not_found' })
  })

  test('may be a package beside pgbearer, which has to be a validator like any other', async () => {
    expect(await failureOf(load('ipaddr.js'))).toMatchObject({ reason: 'wrong_api_version' })
  })
})

describe('a bundled module', () => {
  test.each(Object.keys(BUNDLED_VALIDATORS))('called %s is there', async (name) => {
    const error = await failureOf(
      loadValidator(name, {
        baseDirectory: '/',
        issuers: [],
        log: readableLog().log,
        settings: { no_such_setting: 1 },
      }),
    )
    expect(error.reason).toBe('init_failed')
    expect(error.message).toContain('no_such_setting')
  })
})

describe('a module that is fine', () => {
  test('may be its named exports', async () => {
    const loaded = await fixture('accepts-anything.js')
    expect(await login(loaded, { token: 'ali' })).toMatchObject({ authorized: true })
    expect(await login(loaded, { token: 'other' })).toMatchObject({ authorized: false })
  })

  test.each(['object-export.js', 'common-js.cjs', 'typescript-module.ts'])(
    'may be %s',
    async (file) => {
      const loaded = await fixture(file)
      expect(await login(loaded, { token: 'open-sesame' })).toMatchObject({ authorized: true })
      expect(await login(loaded, { token: 'sesame' })).toMatchObject({ authorized: false })
    },
  )

  test('may be an init function that a compiler turned into CommonJS', async () => {
    const loaded = await fixture('transpiled-common-js.cjs', { settings: { name: 'carol' } })
    expect(await login(loaded)).toMatchObject({ authorized: false, authnId: 'carol' })
  })

  test('is told of its rules, and cannot change them', async () => {
    const rules = [
      {
        place: 'pg_hba.conf:3',
        issuer: 'https://a.test',
        scope: ['db'],
        delegateIdentMapping: true,
        options: { audience: 'db' },
      },
    ]
    await expect(fixture('refuses-its-rules.js', { rules })).rejects.toMatchObject({
      reason: 'init_failed',
      message: expect.stringContaining(`Error: frozen ${JSON.stringify(rules)}`),
    })
    await expect(fixture('refuses-its-rules.js')).rejects.toThrow('frozen []')
  })

  test('gets its settings frozen at every depth, and its context', async () => {
    const settings = { tokens: ['one', 'two'], deep: [{ a: { b: 1 } }] }
    const { log, lines } = readableLog()
    const loaded = await fixture('with-settings.js', { settings, log, issuers: ['https://a.test'] })
    expect(await login(loaded, { token: 'two' })).toMatchObject({
      authorized: true,
      authnId: './with-settings.js',
      errorDetail: 'frozen',
    })
    expect(Object.isFrozen(settings.tokens)).toBe(false)
    expect(lines).toMatchObject([
      { msg: 'initialised', validator: './with-settings.js', fields: { settings } },
    ])
  })
})
