import { expect, test } from 'vitest'
import type { ValidatorState } from '../../src/validator/contract.ts'
import { openValidatorSession } from '../../src/validator/host.ts'
import { Turns } from '../../src/validator/turns.ts'
import { silentLog } from '../../src/log.ts'
import { CONNECTION, INPUT, inline, settle } from './support.ts'

/** `PGBEARER_LIFE_CONNECTIONS=100000` runs as many. */
const CONNECTIONS = Number(process.env.PGBEARER_LIFE_CONNECTIONS ?? 10_000)
const AT_ONCE = 500

/** How a connection goes, decided by its number so that every run is the same. */
const ENDS = [
  'leaves before its first message',
  'asks only where to get a token',
  'leaves during startup',
  'has a startup that throws',
  'is accepted',
  'is refused',
  'has a validate that throws',
  'leaves during validate',
  'runs out of time during validate',
  'ends while validate still runs',
  'has a shutdown that throws',
] as const
type End = (typeof ENDS)[number]

/** Those whose client does not wait for validate. */
const SLOW: ReadonlySet<End> = new Set([
  'leaves during validate',
  'runs out of time during validate',
  'ends while validate still runs',
])

interface Life {
  readonly end: End
  started: number
  validated: number
  ended: number
}

const pause = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

function recorder() {
  const lives = new Map<string, Life>()
  let next: Life | undefined
  const module = {
    async startup(state: ValidatorState) {
      const life = next as Life
      state.privateData = life
      if (life.end === 'has a startup that throws') {
        throw new Error('not today')
      }
      if (life.end === 'leaves during startup') {
        await pause()
      }
      life.started += 1
    },
    async validate(state: ValidatorState) {
      const life = state.privateData as Life
      life.validated += 1
      if (life.end === 'has a validate that throws') {
        throw new Error('not this one')
      }
      if (SLOW.has(life.end)) {
        await pause()
      }
      return { authorized: life.end !== 'is refused', authnId: 'ali' }
    },
    async shutdown(state: ValidatorState) {
      const life = state.privateData as Life
      life.ended += 1
      if (life.end === 'has a shutdown that throws') {
        throw new Error('stuck')
      }
    },
  }
  const begin = (id: string, end: End): Life => {
    next = { end, started: 0, validated: 0, ended: 0 }
    lives.set(id, next)
    return next
  }
  return { module, lives, begin }
}

test(`every startup that succeeded has its one shutdown, over ${CONNECTIONS} connections that end in every way`, async () => {
  const { module, lives, begin } = recorder()
  const loaded = inline(module, 'recorder', { turns: new Turns(AT_ONCE, 0) })
  let accepted = 0

  async function connect(number: number): Promise<void> {
    const end = ENDS[(number * 7919) % ENDS.length] as End
    const id = `c${number}`
    const client = new AbortController()
    const session = openValidatorSession(loaded, {
      connection: { ...CONNECTION, id },
      log: silentLog,
      signal: client.signal,
    })
    if (end === 'leaves before its first message') {
      client.abort()
      await session.shutdown()
      return
    }
    begin(id, end)
    const started = session.startup()
    if (end === 'leaves during startup') {
      client.abort()
    }
    const ready = await started.then(
      () => true,
      () => false,
    )
    if (ready && end !== 'asks only where to get a token') {
      const outcome = session.validate(INPUT)
      if (end === 'leaves during validate') {
        client.abort()
      }
      if (end === 'runs out of time during validate') {
        client.abort(new DOMException('late', 'TimeoutError'))
      }
      if (end !== 'ends while validate still runs') {
        const { kind } = await outcome
        accepted += kind === 'decided' && end === 'is accepted' ? 1 : 0
      }
    }
    await session.shutdown()
  }

  for (let first = 0; first < CONNECTIONS; first += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => connect(first + index)))
  }
  await settle()

  const each = Math.floor(CONNECTIONS / ENDS.length)
  expect(accepted).toBeGreaterThanOrEqual(each)
  expect(lives.size).toBeGreaterThanOrEqual(each * (ENDS.length - 1))
  const wrong = [...lives.values()].filter(({ started, ended }) => started !== ended)
  expect(wrong).toEqual([])
  const counts = (end: End) => [...lives.values()].filter((life) => life.end === end)
  expect(counts('has a startup that throws').every(({ started }) => started === 0)).toBe(true)
  for (const end of ENDS.slice(1).filter((name) => name !== 'has a startup that throws')) {
    expect(counts(end).every(({ started, ended }) => started === 1 && ended === 1)).toBe(true)
  }
  expect(counts('asks only where to get a token').every(({ validated }) => validated === 0)).toBe(
    true,
  )
  expect([...loaded.work.inFlight.tokens]).toEqual([])
  expect([loaded.work.turns.running, loaded.work.turns.waiting]).toEqual([0, 0])
}, 120_000)
