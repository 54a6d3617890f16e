/** Medians, quartiles, and ratios taken within a round. @module */

/** Linear between neighbours; NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)] ?? NaN
  const above = sorted[Math.ceil(at)] ?? NaN
  return below + (above - below) * (at - Math.floor(at))
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export interface Spread {
  readonly median: number
  readonly lower: number
  readonly upper: number
}

/** The median and the quartiles around it. */
export function spread(values: readonly number[]): Spread {
  return {
    median: median(values),
    lower: quantile(values, 0.25),
    upper: quantile(values, 0.75),
  }
}

/** Of two lists with a value for each round: the ratio in each round. */
export function ratios(values: readonly number[], reference: readonly number[]): number[] {
  return values.map((value, round) => value / (reference[round] ?? NaN))
}

/** The same things in another order (Fisher and Yates). */
export function shuffled<T>(things: readonly T[]): T[] {
  const left = [...things]
  const drawn: T[] = []
  while (left.length > 0) {
    drawn.push(...left.splice(Math.floor(Math.random() * left.length), 1))
  }
  return drawn
}
