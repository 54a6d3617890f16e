/**
 * Networks flattened to disjoint intervals, each with the first rule that covers it.
 *
 * @module
 */
import type { IpAddress } from './ip-address.ts'

/** A network with a contiguous mask, and the index of its rule. */
export interface IndexedNetwork {
  /** Host bits are ignored. */
  readonly address: IpAddress
  readonly prefix: number
  readonly rule: number
}

/** No rule. */
export const NO_RULE: number = Number.POSITIVE_INFINITY

/** Answers which rule is the first to cover an address, in logarithmic time. */
export class IntervalTable {
  readonly #width: number
  /** Starts of intervals, `width` words each; an interval ends where the next one starts. */
  readonly #starts: number[] = []
  readonly #rules: number[] = []

  /** @param networks - of one family; contiguous masks make them nested or disjoint. */
  constructor(networks: readonly IndexedNetwork[]) {
    this.#width = networks[0]?.address.words.length ?? 1
    const sorted = networks
      .map((network) => ({ ...network, ...bounds(network) }))
      .sort((a, b) => compareWords(a.first, b.first) || a.prefix - b.prefix)
    const open: { next: readonly number[] | undefined; rule: number }[] = []
    const closeUntil = (start: readonly number[] | undefined): void => {
      for (;;) {
        const inner = open.at(-1)
        const { next } = inner ?? {}
        if (next === undefined || (start !== undefined && compareWords(next, start) > 0)) {
          return
        }
        open.pop()
        this.#add(next, open.at(-1)?.rule ?? NO_RULE)
      }
    }
    for (const { first, next, rule } of sorted) {
      closeUntil(first)
      const lowest = Math.min(rule, open.at(-1)?.rule ?? NO_RULE)
      open.push({ next, rule: lowest })
      this.#add(first, lowest)
    }
    closeUntil(undefined)
  }

  /** The index of the first rule that covers the address, or {@link NO_RULE}. */
  lookup({ words }: IpAddress): number {
    let low = 0
    let high = this.#rules.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#compareStart(middle, words) <= 0) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return this.#rules[low - 1] ?? NO_RULE
  }

  #add(start: readonly number[], rule: number): void {
    const last = this.#rules.length - 1
    if (last >= 0 && this.#compareStart(last, start) === 0) {
      this.#rules[last] = rule
      return
    }
    if (this.#rules[last] !== rule) {
      this.#starts.push(...start)
      this.#rules.push(rule)
    }
  }

  #compareStart(index: number, words: readonly number[]): number {
    const from = index * this.#width
    for (let at = 0; at < this.#width; at++) {
      const difference = (this.#starts[from + at] ?? 0) - (words[at] ?? 0)
      if (difference !== 0) {
        return difference
      }
    }
    return 0
  }
}

/** First address of a network and first one after it; none after the last network of all. */
function bounds({ address, prefix }: IndexedNetwork): {
  first: readonly number[]
  next: readonly number[] | undefined
} {
  const first = address.words.map((word, index) => (word & wordMask(prefix, index)) >>> 0)
  const next = [...first]
  // Adds one to the last bit of the prefix, with carry.
  let place = prefix - 1
  while (place >= 0) {
    const index = place >>> 5
    const sum = (next[index] ?? 0) + 2 ** (31 - (place & 31))
    next[index] = sum % 2 ** 32
    if (sum < 2 ** 32) {
      return { first, next }
    }
    place = index * 32 - 1
  }
  return { first, next: undefined }
}

function wordMask(prefix: number, index: number): number {
  const bits = Math.min(Math.max(prefix - index * 32, 0), 32)
  return bits === 0 ? 0 : (0xffff_ffff << (32 - bits)) >>> 0
}

function compareWords(a: readonly number[], b: readonly number[]): number {
  for (let at = 0; at < a.length; at++) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0)
    if (difference !== 0) {
      return difference
    }
  }
  return 0
}
