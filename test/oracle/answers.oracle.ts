/** The same bytes to PostgreSQL and to us: the same bytes back, and the same said of it in the log. */
import { describe, expect, it } from 'vitest'
import { type Answer, converse, type Step } from './conversation.ts'
import { gistOfAnswer, gistOfLog } from './gist.ts'
import { mutant } from './mutants.ts'
import { ourEntries, withPair } from './pair.ts'
import { SCRIPTS } from './scripts/index.ts'

const pair = withPair()

/** How many mutants, and from which number on. */
const RUNS = Number(process.env['PGBEARER_ORACLE_RUNS'] ?? 500)
const SEED = Number(process.env['PGBEARER_ORACLE_SEED'] ?? 1)

interface Answers {
  readonly answer: readonly string[]
  readonly log: readonly string[]
}

async function ask(
  steps: readonly Step[],
  quiet: number,
): Promise<{ readonly theirs: Answers; readonly ours: Answers }> {
  const { real, proxy, clients } = pair()
  const patience = { quiet, first: quiet * 8 }
  const [theirs, ours] = await Promise.all([
    converse(real.port, steps, patience, clients),
    converse(proxy.port, steps, patience, clients),
  ])
  const settled = (entries: (port: number) => unknown, { port }: Answer): Promise<void> =>
    expect
      .poll(() => entries(port), { timeout: 100 })
      .not.toEqual([])
      .catch(() => {})
  await settled((port) => ourEntries(proxy, port), ours)
  return {
    theirs: { answer: gistOfAnswer(theirs.lines), log: gistOfLog(await real.entries(theirs.port)) },
    ours: { answer: gistOfAnswer(ours.lines), log: gistOfLog(ourEntries(proxy, ours.port)) },
  }
}

/** Asks again, more patiently, where the answers differ: a busy machine may have cut one short. */
async function compare(steps: readonly Step[]): Promise<void> {
  const first = await ask(steps, 25)
  if (JSON.stringify(first.theirs) !== JSON.stringify(first.ours)) {
    const { theirs, ours } = await ask(steps, 250)
    expect(ours).toEqual(theirs)
  }
}

describe('PostgreSQL and pgbearer say the same to', () => {
  it.each(SCRIPTS)('$name', ({ steps }) => compare(steps))
})

it(`PostgreSQL and pgbearer say the same to ${RUNS} mutants`, {
  timeout: RUNS * 3000,
}, async () => {
  for (let seed = SEED; seed < SEED + RUNS; seed += 1) {
    await compare(mutant(seed)).catch((cause: unknown) => {
      throw new Error(`PGBEARER_ORACLE_SEED=${seed}: ${String(cause)}`, { cause })
    })
  }
})
