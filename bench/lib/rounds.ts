/** Running all contenders of all cells in every round, each time in another order. @module */
import { shuffled } from './statistics.ts'

/** Named figures of one sample, such as `{ cpu: 21.3, p99: 0.4 }`. */
export type Sample = Readonly<Record<string, number>>

/** One thing that is measured, and who does it. */
export interface Cell {
  readonly name: string
  readonly contenders: readonly Contender[]
}

export interface Contender {
  readonly name: string
  readonly run: () => Promise<Sample>
}

/** A sample for each round; undefined where the contender failed in that round. */
export type Samples = readonly (Sample | undefined)[]

/** Samples by cell, then by contender. */
export type Results = ReadonlyMap<string, ReadonlyMap<string, Samples>>

/**
 * Runs all rounds, behind one that does not count (`warmUp`): it compiles and lets buffers grow. A
 * contender that fails is told of, and has no figures in that round.
 */
export async function runRounds(
  cells: readonly Cell[],
  rounds: number,
  { warmUp = true }: { readonly warmUp?: boolean } = {},
): Promise<Results> {
  const results = new Map(
    cells.map((cell) => [
      cell.name,
      new Map(cell.contenders.map(({ name }) => [name, [] as (Sample | undefined)[]])),
    ]),
  )
  for (let round = warmUp ? 0 : 1; round <= rounds; round += 1) {
    const begun = performance.now()
    for (const cell of shuffled(cells)) {
      for (const contender of shuffled(cell.contenders)) {
        const sample = await runOne(cell, contender)
        if (round > 0) {
          results.get(cell.name)?.get(contender.name)?.push(sample)
        }
      }
    }
    const seconds = Math.round((performance.now() - begun) / 1000)
    console.log(`${round === 0 ? 'warm-up' : `round ${round} of ${rounds}`}: ${seconds} s`)
  }
  return results
}

async function runOne(cell: Cell, { name, run }: Contender): Promise<Sample | undefined> {
  try {
    return await run()
  } catch (error) {
    console.log(`FAILED: ${cell.name}, ${name}: ${String(error)}`)
    return undefined
  }
}

/** One figure over all rounds; NaN where there is none. */
export function figures(samples: Samples | undefined, name: string): number[] {
  return (samples ?? []).map((sample) => sample?.[name] ?? NaN)
}

/** Results as they go into a JSON file. */
export function toJson(results: Results): Record<string, Record<string, Samples>> {
  return Object.fromEntries(
    [...results].map(([cell, contenders]) => [cell, Object.fromEntries(contenders)]),
  )
}
