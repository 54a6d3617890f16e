/**
 * What the validator host costs: a validation over calling the module's function directly, in this thread and in
 * workers; the memory of a connection's state; and what a good module's logins feel of modules that misbehave.
 *
 *     npm run bench:host -- [--rounds 7] [--quick] [--json FILE]
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { silentLog } from '../src/log.ts'
import { disposeValidators } from '../src/validator/dispose-validators.ts'
import { openValidatorSession, type ValidatorSession } from '../src/validator/host.ts'
import { loadValidator } from '../src/validator/load-validator-module.ts'
import type { LoadedValidator } from '../src/validator/loaded-validator.ts'
import type { ValidationInput } from '../src/validator/validation-request.ts'
import { loadIsolatedValidator } from '../src/validator/worker/load-isolated-validator.ts'
import { describeMachine, printMachine } from './lib/machine.ts'
import { readOptions, writeJson } from './lib/options.ts'

const options = readOptions(7)
const BATCH = options.quick ? 2000 : 20_000
const STATES = options.quick ? 2000 : 20_000
const STORM_MS = options.quick ? 2000 : 10_000
const FIXTURES = resolve('test/fixtures/validators')

const MODULE = `
export const apiVersion = 1
export async function validate(state, request) {
  return { authorized: request.token === 'good', authnId: request.role }
}
`
const STATEFUL = `${MODULE}
export function startup(state) { state.privateData = { seen: 0 } }
export function shutdown(state) { state.privateData = undefined }
`
const INPUT: ValidationInput = {
  token: 'good',
  role: 'ali',
  issuer: 'https://login.example.com',
  scope: 'openid db',
  options: {},
  delegateIdentMapping: false,
}
const signal = new AbortController().signal
const info = { id: '1', database: 'db', clientAddress: '127.0.0.1', tls: true }

const open = (loaded: LoadedValidator): ValidatorSession =>
  openValidatorSession(loaded, { connection: info, log: silentLog, signal })

async function login(loaded: LoadedValidator, input = INPUT): Promise<void> {
  const session = open(loaded)
  await session.startup()
  const outcome = await session.validate(input)
  await session.shutdown()
  if (outcome.kind !== 'decided' || !outcome.authorized) {
    throw new Error('a good token was refused')
  }
}

/** Microseconds for each of `count` calls, `atOnce` at a time; CPU is that of all threads. */
async function timeEach({ count, atOnce, call }: Contender): Promise<Cost> {
  let left = count
  const cpu = process.cpuUsage()
  const begun = performance.now()
  const some = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      await call()
    }
  }
  await Promise.all(Array.from({ length: atOnce }, some))
  const wall = ((performance.now() - begun) * 1000) / count
  const { user, system } = process.cpuUsage(cpu)
  return { wall, cpu: (user + system) / count }
}

const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? NaN

interface Cost {
  readonly wall: number
  readonly cpu: number
}

interface Contender {
  readonly name: string
  readonly count: number
  readonly atOnce: number
  readonly call: () => Promise<unknown>
}

/** `best` is the fastest round: on a machine that does other things, too, the median says more about those. */
interface Summary {
  readonly best: number
  readonly median: number
  readonly cpu: number
}

async function measureCosts(contenders: readonly Contender[]): Promise<Record<string, Summary>> {
  const samples = new Map(contenders.map(({ name }) => [name, [] as Cost[]]))
  for (let round = 0; round <= options.rounds; round += 1) {
    for (const contender of contenders) {
      const cost = await timeEach(contender)
      // The first round compiles.
      if (round > 0) {
        samples.get(contender.name)?.push(cost)
      }
    }
  }
  return Object.fromEntries(
    [...samples].map(([name, costs]) => {
      const walls = costs.map(({ wall }) => wall)
      const cpu = quantile(
        costs.map(({ cpu }) => cpu),
        0.5,
      )
      return [name, { best: Math.min(...walls), median: quantile(walls, 0.5), cpu }]
    }),
  )
}

/** Bytes for each connection that has started and waits. */
async function measureState(loaded: LoadedValidator): Promise<number> {
  const collect = (): number => {
    globalThis.gc?.()
    return process.memoryUsage().heapUsed
  }
  await login(loaded)
  const before = collect()
  const sessions = Array.from({ length: STATES }, () => open(loaded))
  await Promise.all(sessions.map((session) => session.startup()))
  const bytes = (collect() - before) / STATES
  await Promise.all(sessions.map((session) => session.shutdown()))
  return bytes
}

const STORM = [
  { file: 'spins.js', role: 'spin' },
  { file: 'eats-memory.js', role: 'eat' },
  { file: 'calls-process-exit.js', role: 'exit' },
  { file: 'throws-in-validate.js', role: 'ali' },
  { file: 'answers-late.js', role: 'ali' },
  { file: 'huge-authn-id.js', role: 'ali' },
  { file: 'logs-its-request.js', role: 'ali' },
]

/** Latencies of good logins, one every 2 ms, in microseconds. */
async function watchLogins(loaded: LoadedValidator): Promise<number[]> {
  const times: number[] = []
  const until = performance.now() + STORM_MS
  while (performance.now() < until) {
    const begun = performance.now()
    await login(loaded)
    times.push((performance.now() - begun) * 1000)
    await sleep(2)
  }
  return times
}

async function underStorm(good: LoadedValidator): Promise<number[]> {
  const bad = await Promise.all(
    STORM.map(async ({ file, role }) => ({
      role,
      loaded: await isolated(`./${file}`, FIXTURES, 1, 500),
    })),
  )
  const over = new AbortController()
  const storms = bad.map(async ({ loaded, role }) => {
    while (!over.signal.aborted) {
      await login(loaded, { ...INPUT, role }).catch(() => {})
      await sleep(5)
    }
  })
  const times = await watchLogins(good)
  over.abort()
  await Promise.all(storms)
  await disposeValidators(
    bad.map(({ loaded }) => loaded),
    { log: silentLog },
  )
  return times
}

function isolated(
  name: string,
  baseDirectory: string,
  workers: number,
  validatorTimeoutMs?: number,
): Promise<LoadedValidator> {
  const limits = { maxConcurrent: 100_000, validatorTimeoutMs }
  const common = { baseDirectory, issuers: [], log: silentLog, limits, workers }
  const resourceLimits = { maxOldGenerationSizeMb: 64 }
  return loadIsolatedValidator(name, { ...common, resourceLimits })
}

async function main(): Promise<void> {
  const machine = describeMachine()
  printMachine(machine)
  const directory = await mkdtemp(join(tmpdir(), 'pgbearer-host-'))
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }')
  await writeFile(join(directory, 'plain.js'), MODULE)
  await writeFile(join(directory, 'stateful.js'), STATEFUL)
  const here = (name: string): Promise<LoadedValidator> =>
    loadValidator(name, { baseDirectory: directory, issuers: [], log: silentLog })
  const plain = await here('./plain.js')
  const stateful = await here('./stateful.js')
  const one = await isolated('./plain.js', directory, 1)
  const oneStateful = await isolated('./stateful.js', directory, 1)
  const two = await isolated('./plain.js', directory, 2)
  const direct = (await import(join(directory, 'plain.js'))) as {
    validate(state: unknown, request: ValidationInput): Promise<unknown>
  }
  const few = Math.ceil(BATCH / 10)
  try {
    const costs = await measureCosts([
      {
        name: 'the function itself',
        count: BATCH,
        atOnce: 1,
        call: () => direct.validate({}, INPUT),
      },
      { name: 'in this thread', count: BATCH, atOnce: 1, call: () => login(plain) },
      { name: 'in this thread, with state', count: BATCH, atOnce: 1, call: () => login(stateful) },
      { name: 'in a worker', count: few, atOnce: 1, call: () => login(one) },
      { name: 'in a worker, with state', count: few, atOnce: 1, call: () => login(oneStateful) },
      { name: 'in one worker, 256 at once', count: BATCH, atOnce: 256, call: () => login(one) },
      { name: 'in two workers, 256 at once', count: BATCH, atOnce: 256, call: () => login(two) },
    ])
    console.log(`${'microseconds'.padEnd(30)}      best    median       CPU`)
    for (const [name, { best, median, cpu }] of Object.entries(costs)) {
      const figures = [best, median, cpu].map((figure) => figure.toFixed(2).padStart(10)).join('')
      const perSecond = Math.round(1e6 / best).toLocaleString('en')
      console.log(`${name.padEnd(30)}${figures}   ${perSecond}/s at best`)
    }
    const state = {
      inThisThread: await measureState(stateful),
      ofTheHostInAWorker: await measureState(oneStateful),
    }
    console.log(
      `a live state: ${state.inThisThread.toFixed(0)} bytes in this thread, ${state.ofTheHostInAWorker.toFixed(0)} here for one in a worker`,
    )
    const alone = await watchLogins(one)
    const stormy = await underStorm(one)
    const storm = Object.fromEntries(
      [0.5, 0.99, 0.999].map((share) => [share, [quantile(alone, share), quantile(stormy, share)]]),
    )
    console.log(`good logins alone (${alone.length}) and beside bad modules (${stormy.length}):`)
    for (const [share, [before = NaN, during = NaN]] of Object.entries(storm)) {
      console.log(
        `  p${Number(share) * 100}: ${before.toFixed(0)} us, ${during.toFixed(0)} us: ${(during / before).toFixed(2)} times`,
      )
    }
    await writeJson(options, { machine, costs, state, storm })
  } finally {
    await disposeValidators([plain, stateful, one, oneStateful, two], { log: silentLog })
    await rm(directory, { recursive: true })
  }
}

await main()
