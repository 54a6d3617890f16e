/** `[validator_hosts.<name>]`: how a module is run is a setting, and a wrong one stops a start. */
import { afterEach, expect, test } from 'vitest'
import { loadSettingsFile, settingsFromObject } from '../../src/config/load-settings.ts'
import { loadValidators } from '../../src/config/load-validators.ts'
import type { SettingsInput } from '../../src/config/settings.ts'
import { disposeValidators } from '../../src/validator/dispose-validators.ts'
import type { LoadedValidator } from '../../src/validator/loaded-validator.ts'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { FIXTURES, freshLife, login, readableLog } from './support.ts'

const loaded: LoadedValidator[] = []
afterEach(() => disposeValidators(loaded.splice(0), { log: readableLog().log }))

async function load(settings: Partial<SettingsInput>, readable = readableLog()) {
  const all = settingsFromObject({ upstream: { host: 'none' }, ...settings }, FIXTURES)
  const result = await loadValidators(all, [], { log: readable.log })
  loaded.push(...result.validators.values())
  return {
    readable,
    validators: result.validators,
    errors: result.errors.map(({ message }) => message),
  }
}

const theOnly = (validators: ReadonlyMap<string, LoadedValidator>): LoadedValidator =>
  [...validators.values()][0]!

test('a module that is not bundled runs in a worker, and what it writes stays there', async () => {
  freshLife()
  const { validators } = await load({ oauth_validator_libraries: ['./pollutes-prototypes.js'] })
  expect(await login(theOnly(validators))).toMatchObject({ kind: 'internal_error' })
  expect(({} as { authorized?: boolean }).authorized).toBeUndefined()
})

test('isolation = "none" runs it here', async () => {
  const life = freshLife()
  const { validators } = await load({
    oauth_validator_libraries: ['./records-its-life.js'],
    validator_hosts: { 'records-its-life': { isolation: 'none' } },
  })
  expect(await login(theOnly(validators))).toMatchObject({ authorized: true })
  expect(life.map(([what]) => what)).toEqual(['startup', 'validate', 'shutdown'])
})

test('resource_limits bound a worker, and its end is told', async () => {
  const { validators, readable } = await load({
    oauth_validator_libraries: ['./eats-memory.js'],
    validator_hosts: { 'eats-memory': { resource_limits: { max_old_generation_size_mb: 32 } } },
  })
  const module = theOnly(validators)
  expect(await login(module, { role: 'eat' })).toMatchObject({ reason: 'crashed' })
  expect(readable.with('worker of OAuth validator module ended')).toMatchObject([
    { validator: './eats-memory.js', detail: expect.stringContaining('out of memory') },
  ])
  expect(await login(module, { role: 'ali' })).toMatchObject({ authorized: true })
})

test('validator_timeout, max_concurrent_validations and validation_queue_size bound a module', async () => {
  const { validators } = await load({
    oauth_validator_libraries: ['./accepts-anything.js'],
    validator_hosts: {
      'accepts-anything': {
        validator_timeout: '1500ms',
        max_concurrent_validations: 1,
        validation_queue_size: 1,
      },
    },
  })
  const { work } = theOnly(validators)
  expect(work.timeoutMs).toBe(1500)
  expect([work.turns.take()?.comes, work.turns.take()?.comes !== undefined]).toEqual([
    undefined,
    true,
  ])
  expect(work.turns.take()).toBeUndefined()
})

test.each([{ workers: 2 }, { resource_limits: { stack_size_mb: 4 } }])(
  'limits of a worker are refused where there is none: %j',
  async (host) => {
    const settings = {
      oauth_validator_libraries: ['./accepts-anything.js'],
      validator_hosts: { 'accepts-anything': { ...host, isolation: 'none' as const } },
    }
    expect((await load(settings)).errors).toEqual([
      `"${Object.keys(host)[0]}" of OAuth validator module "./accepts-anything.js" needs isolation = "worker"`,
    ])
  },
)

test('a bundled module runs here unless it is to be in a worker', async () => {
  const { errors } = await load({
    oauth_validator_libraries: ['jwt'],
    validators: { jwt: { audiences: ['https://db.example.com'] } },
    validator_hosts: { jwt: { workers: 2 } },
  })
  expect(errors).toEqual(['"workers" of OAuth validator module "jwt" needs isolation = "worker"'])
})

test('a table for a module that is not loaded is an error', async () => {
  const { errors } = await load({
    oauth_validator_libraries: ['./accepts-anything.js'],
    validator_hosts: { 'accepts-anythin': {} },
  })
  expect(errors).toEqual([
    'settings [validator_hosts.accepts-anythin] belong to no name in "oauth_validator_libraries"',
  ])
})

test('an unknown name in a table is an error at its place, with the nearest known one', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'pgbearer-hosts-'))
  const file = path.join(directory, 'pgbearer.toml')
  writeFileSync(file, '[upstream]\nhost = "h"\n[validator_hosts.acme]\nisolaton = "none"\n')
  try {
    expect(() => loadSettingsFile(file)).toThrow(
      `${file}:3: unrecognized configuration parameter "validator_hosts.acme.isolaton", perhaps you meant "validator_hosts.acme.isolation"`,
    )
  } finally {
    rmSync(directory, { recursive: true })
  }
})
