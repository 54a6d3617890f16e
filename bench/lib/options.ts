/** What every benchmark takes on its command line. @module */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'

export interface BenchOptions {
  /** Each round runs every contender once, in random order. */
  readonly rounds: number
  /** Short samples: shows that it works, not how fast it is. */
  readonly quick: boolean
  /** Only cells whose name has this in it. */
  readonly only: string | undefined
  /** Where results go as JSON. */
  readonly json: string | undefined
}

const QUICK_ROUNDS = 2

/** Reads `--rounds N`, `--quick`, `--only TEXT` and `--json FILE`. Exits where they are wrong. */
export function readOptions(defaultRounds: number): BenchOptions {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      json: { type: 'string' },
    },
  })
  const rounds = Number(values.rounds ?? (values.quick ? QUICK_ROUNDS : defaultRounds))
  if (!Number.isInteger(rounds) || rounds < 1) {
    console.error('--rounds takes a whole number from 1')
    process.exit(2)
  }
  return { rounds, quick: values.quick, only: values.only, json: values.json }
}

/** Writes the results where they were asked for. */
export async function writeJson(options: BenchOptions, results: unknown): Promise<void> {
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify(results, undefined, 2)}\n`)
  }
}
