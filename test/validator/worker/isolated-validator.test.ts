import { readdirSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ValidatorLoadError } from '../../../src/errors.ts'
import { disposeValidators } from '../../../src/validator/dispose-validators.ts'
import type { LoadedValidator } from '../../../src/validator/loaded-validator.ts'
import { checkValidatorOptions } from '../../../src/validator/validator-options.ts'
import {
  type LoadIsolatedValidatorOptions,
  loadIsolatedValidator,
} from '../../../src/validator/worker/load-isolated-validator.ts'
import { FENCE_AFTER } from '../../../src/validator/worker/fence.ts'
import { LINES_AT_ONCE } from '../../../src/validator/worker/flood-gate.ts'
import { WORKER_NICENESS } from '../../../src/validator/worker/thread-priority.ts'
import { FIXTURES, INPUT, login, OPAQUE, open, piecesIn, readableLog, TOKEN } from '../support.ts'
import { type BuiltWorker, buildWorker } from './built-worker.ts'

let built: BuiltWorker
let readable = readableLog()
const loadedHere: LoadedValidator[] = []

beforeAll(async () => {
  built = await buildWorker()
}, 120_000)
afterAll(() => built.remove())
afterEach(async () => {
  await disposeValidators(loadedHere.splice(0), { log: readable.log })
  readable = readableLog()
})

async function isolated(
  file: string,
  options: Partial<LoadIsolatedValidatorOptions> = {},
): Promise<LoadedValidator> {
  const loaded = await loadIsolatedValidator(`./${file}`, {
    baseDirectory: FIXTURES,
    issuers: [],
    log: readable.log,
    entry: built.entry,
    ...options,
  })
  loadedHere.push(loaded)
  return loaded
}

async function until(happened: () => boolean): Promise<void> {
  while (!happened()) {
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}

const ENDED = 'worker of OAuth validator module ended'

describe('a module that cannot be used', () => {
  test.each([
    ['nowhere.js', 'not_found', 'no such file'],
    ['throws-at-import.js', 'not_loadable', 'the key file is missing'],
    ['throws-in-init.js', 'init_failed', 'audiences is empty'],
    ['wrong-api-version.js', 'wrong_api_version', 'the module has 2'],
    ['no-validate.js', 'no_validate', 'must provide a "validate" callback'],
    ['exits-at-import.js', 'not_loadable', 'its worker ended: it exited with code 3'],
  ])('%s is refused as %s, and leaves no worker', async (file, reason, message) => {
    const error: unknown = await isolated(file, { workers: 2 }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ValidatorLoadError)
    expect(error).toMatchObject({ reason, validator: `./${file}` })
    expect((error as Error).message).toContain(message)
  })

  test('is told of its rules, and refused for what it says of them', async () => {
    const rules = [
      {
        place: 'pg_hba.conf:3',
        issuer: 'https://a.test',
        scope: ['db'],
        delegateIdentMapping: true,
        options: { audience: 'db' },
      },
    ]
    await expect(isolated('refuses-its-rules.js', { rules })).rejects.toMatchObject({
      reason: 'init_failed',
      message: expect.stringContaining(`Error: frozen ${JSON.stringify(rules)}`),
    })
  })

  test('is refused settings that cannot be handed to a worker', async () => {
    const settings = { now: () => 1 }
    await expect(isolated('with-settings.js', { settings })).rejects.toMatchObject({
      reason: 'not_loadable',
      message: expect.stringContaining('could not start a worker'),
    })
  })
})

describe('a module in TypeScript', () => {
  test('is loaded where Node can, and where it cannot the error says what to do', async () => {
    const loading = isolated('typescript-module.ts')
    if ('typescript' in process.features && process.features.typescript !== false) {
      expect(await login(await loading, { token: 'open-sesame' })).toMatchObject({
        authorized: true,
      })
      return
    }
    await expect(loading).rejects.toMatchObject({
      reason: 'not_loadable',
      message: expect.stringMatching(
        /Node\.js v\d+\.\S+ cannot load TypeScript: compile the module/,
      ),
    })
  })
})

describe('a module in a worker', () => {
  test.each([
    ['throws-in-validate.js', 'threw', 'validate threw: TypeError: role ali is unknown'],
    ['returns-true.js', 'bad_result', 'validate returned true'],
    ['returns-false.js', 'returned_false', 'validate returned false'],
    ['getter-throws.js', 'bad_result', 'not for [token]'],
    ['lone-surrogate.js', 'bad_authn_id', 'half of a surrogate pair'],
    ['huge-authn-id.js', 'bad_authn_id', 'longer than 1024 bytes'],
    ['token-as-identity.js', 'bad_authn_id', 'has the token in it'],
    ['throws-nonsense.js', 'threw', 'something that is not an error'],
  ])('that misbehaves fails as it would here: %s', async (file, reason, detail) => {
    const outcome = await login(await isolated(file), {}, readable.log)
    expect(outcome).toMatchObject({ kind: 'internal_error', reason })
    expect((outcome as { logDetail: string }).logDetail).toContain(detail)
    expect(readable.with('internal error in OAuth validator module')).toMatchObject([
      { validator: `./${file}`, connection: 'c7', phase: 'validate', reason },
    ])
    expect(piecesIn(readable.text(), TOKEN)).toEqual([])
  })

  test.each([TOKEN, OPAQUE])('gets no token into the log: %s', async (token) => {
    for (const file of ['throws-the-token.js', 'logs-its-request.js', 'prints-the-token.js']) {
      await login(await isolated(file), { token }, readable.log)
    }
    await until(() => readable.text().split('wrote to its console').length > 2)
    expect(readable.text()).toContain('checking [token]')
    expect(piecesIn(readable.text(), token)).toEqual([])
  })

  test('has the same contract: state, request, result, log and life', async () => {
    const loaded = await isolated('logs-its-life.js', { workers: 2 })
    const { options } = await checkValidatorOptions(loaded, new Map([['tenant', 'acme']]))
    for (const role of ['ali', 'bob']) {
      expect(await login(loaded, { role, options }, readable.log)).toMatchObject({
        kind: 'decided',
        authorized: true,
        authnId: role,
        expiresAt: 4_000_000_000,
        code: 'fine',
        errorDetail: expect.stringMatching(/^c7 https:\/\/idp\.test \d/),
      })
    }
    const life = ['startup', 'validate acme openid+db']
    const line = {
      validator: './logs-its-life.js',
      connection: 'c7',
      fields: { privateData: life },
    }
    expect(readable.with('asked')).toMatchObject([line, line])
    expect(readable.with('life')).toMatchObject([line, line])
  })

  test('has its options checked when the rules are loaded', async () => {
    const loaded = await isolated('with-schema.js')
    expect(await checkValidatorOptions(loaded, new Map([['tenant', '']]))).toMatchObject({
      errors: [{ message: expect.stringContaining('validator.tenant') }],
    })
    expect(await checkValidatorOptions(loaded, new Map([['tenat', 'x']]))).toHaveProperty('errors')
    const checked = await checkValidatorOptions(
      loaded,
      new Map([
        ['tenant', 'acme'],
        ['max_age', '60'],
      ]),
    )
    expect(await login(loaded, { options: checked.options })).toMatchObject({ authorized: true })
  })

  test('is told by its signal that the deadline has passed, and is shut down', async () => {
    const loaded = await isolated('logs-its-life.js')
    const deadline = new AbortController()
    const session = open(loaded, { log: readable.log, signal: deadline.signal })
    await session.startup()
    const outcome = session.validate({ ...INPUT, role: 'wait' })
    await until(() => readable.with('asked').length === 1)
    deadline.abort(new DOMException('late', 'TimeoutError'))
    expect(await outcome).toMatchObject({ kind: 'internal_error', reason: 'timeout' })
    await session.shutdown()
    expect(readable.with('life')).toMatchObject([
      { fields: { privateData: ['startup', expect.any(String), 'aborted TimeoutError'] } },
    ])
  })

  test('has its startup failures reported', async () => {
    const session = open(await isolated('throws-in-startup.js'))
    await expect(session.startup()).rejects.toMatchObject({
      reason: 'threw',
      logDetail: expect.stringContaining('no connection to the key store'),
    })
    await session.shutdown()
  })

  test('is disposed of, and its worker with it', async () => {
    const loaded = await isolated('accepts-anything.js')
    await disposeValidators([loaded], { log: readable.log })
    expect(await login(loaded, { token: 'ali' })).toMatchObject({
      kind: 'internal_error',
      reason: 'fenced',
    })
  })
})

describe('a worker that ends', () => {
  // The one that eats memory never lets go of its thread either: where others want the core, too, that is noticed first.
  const ends: readonly (readonly [string, string, RegExp])[] = [
    ['calls-process-exit.js', 'exit', /it exited with code 0$/],
    ['eats-memory.js', 'eat', /it (ran out of memory|did not react for 2 s)$/],
    ['spins.js', 'spin', /it did not react for 2 s$/],
  ]

  test.each(ends)(
    '%s: takes its own login down, and the next one works',
    async (file, role, why) => {
      const loaded = await isolated(file, { resourceLimits: { maxOldGenerationSizeMb: 32 } })
      const outcome = await login(loaded, { role }, readable.log)
      expect(outcome).toEqual({
        kind: 'internal_error',
        reason: 'crashed',
        logDetail: expect.stringMatching(why),
      })
      expect(readable.with(ENDED)).toMatchObject([
        {
          validator: `./${file}`,
          detail: expect.stringMatching(why),
          times: 1,
          recently: 1,
          fenced: false,
        },
      ])
      expect(await login(loaded, { token: 'ali' })).toMatchObject({ authorized: true })
    },
    60_000,
  )

  test('takes only the connections down whose state it had', async () => {
    const loaded = await isolated('calls-process-exit.js', { workers: 2 })
    const sessions = Array.from({ length: 4 }, () => open(loaded, { log: readable.log }))
    for (const session of sessions) {
      await session.startup()
    }
    const [first, second, third, fourth] = sessions
    const exit = first?.validate({ ...INPUT, role: 'exit' })
    expect(await exit).toMatchObject({ reason: 'crashed' })
    const yes = { kind: 'decided', authorized: true, authnId: 'ali kept' }
    expect(await second?.validate(INPUT)).toMatchObject(yes)
    expect(await third?.validate(INPUT)).toMatchObject({ reason: 'crashed' })
    expect(await fourth?.validate(INPUT)).toMatchObject(yes)
    await Promise.all(sessions.map((session) => session.shutdown()))
    expect(readable.with('shut down')).toHaveLength(2)
  })

  test('too often is left alone for a while, and its logins fail fast', async () => {
    const loaded = await isolated('calls-process-exit.js')
    for (let time = 1; time <= FENCE_AFTER; time += 1) {
      expect(await login(loaded, { role: 'exit' }, readable.log)).toMatchObject({
        reason: 'crashed',
      })
      expect(readable.with(ENDED)).toHaveLength(time)
    }
    expect(readable.with(ENDED).at(-1)).toMatchObject({ times: FENCE_AFTER, fenced: true })
    const session = open(loaded, { log: readable.log })
    await expect(session.startup()).rejects.toMatchObject({
      reason: 'fenced',
      logDetail: expect.stringMatching(/ended 5 times in 60 s, the next try is in \d+ s/),
    })
    await session.shutdown()
  })

  test('with an error after its answer has the token of nobody in the log', async () => {
    const loaded = await isolated('fails-after-its-answer.js')
    const yes = { kind: 'decided', authorized: true }
    expect(await login(loaded, { role: 'throw', token: OPAQUE }, readable.log)).toMatchObject(yes)
    await until(() => readable.with(ENDED).length === 1)
    expect(readable.with(ENDED)).toMatchObject([{ detail: expect.stringContaining('it threw') }])
    expect(await login(loaded, {}, readable.log)).toMatchObject(yes)
    expect(piecesIn(readable.text(), OPAQUE)).toEqual([])
  })

  test('is none for a promise that rejects after the answer: the log says so', async () => {
    const loaded = await isolated('fails-after-its-answer.js')
    const stray = 'OAuth validator module left a promise that rejected'
    await login(loaded, { role: 'reject', token: OPAQUE }, readable.log)
    await until(() => readable.with(stray).length === 1)
    expect(readable.with(stray)).toMatchObject([
      {
        validator: './fails-after-its-answer.js',
        detail: expect.stringContaining('forgot [token]'),
      },
    ])
    expect(readable.with(ENDED)).toEqual([])
    expect(piecesIn(readable.text(), OPAQUE)).toEqual([])
  })

  test('does not let a polluted prototype out', async () => {
    const loaded = await isolated('pollutes-prototypes.js')
    expect(await login(loaded)).toMatchObject({ kind: 'internal_error', reason: 'bad_result' })
    expect(Object.hasOwn(Object.prototype, 'authorized')).toBe(false)
  })
})

describe('a module that goes on for ever and lets go of its thread in between', () => {
  test('is ended when it has computed for two seconds and answered nobody', async () => {
    const loaded = await isolated('burns-its-core.js', { limits: { validatorTimeoutMs: 300 } })
    expect(await login(loaded, { role: 'burn' })).toMatchObject({
      kind: 'internal_error',
      reason: 'timeout',
    })
    await until(() => readable.lines.some(({ msg }) => msg === ENDED))
    expect(readable.lines.find(({ msg }) => msg === ENDED)).toMatchObject({
      detail: 'it computed for 2 s and answered nobody',
    })
    expect(await login(loaded)).toMatchObject({ kind: 'decided', authorized: true })
  }, 20_000)

  test('does not flood the log, and the log says how much was dropped', async () => {
    const loaded = await isolated('floods-its-log.js', { limits: { validatorTimeoutMs: 300 } })
    expect(await login(loaded, { role: 'flood' }, readable.log)).toMatchObject({
      kind: 'internal_error',
      reason: 'timeout',
    })
    const TOO_MUCH = 'OAuth validator module writes too much, the rest is dropped'
    await until(() => readable.lines.some(({ msg }) => msg === TOO_MUCH))
    const dropped = Number(readable.lines.find(({ msg }) => msg === TOO_MUCH)?.['lines'])
    const written = readable.lines.filter(({ msg }) => msg === 'still here').length
    expect(written).toBeGreaterThan(0)
    expect(dropped).toBeGreaterThan(0)
    expect(written).toBeLessThan(LINES_AT_ONCE + dropped)
    expect(piecesIn(readable.text(), TOKEN)).toEqual([])
  }, 20_000)
})

test('a worker leaves the core to others, where the system gives threads a priority of their own', async () => {
  const before = getPriority(0)
  await isolated('accepts-anything.js')
  expect(getPriority(0)).toBe(before)
  expect(nicenessOfThreads()).toEqual(
    process.platform === 'linux' ? expect.arrayContaining([before, before + WORKER_NICENESS]) : [],
  )
})

function nicenessOfThreads(): number[] {
  if (process.platform !== 'linux') {
    return []
  }
  // proc(5): field 19 of stat; the name before it may have blanks in it.
  return readdirSync('/proc/self/task').map((thread) => {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
  })
}
