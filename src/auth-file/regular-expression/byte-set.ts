/**
 * Sets of bytes: what one atom of an expression matches.
 *
 * @module
 */

/** One entry per byte, 1 where the byte is in the set. */
export type ByteSet = Readonly<Uint8Array>

export const BYTES = 256

/** All code points of the ranges that are bytes; the rest can never match and is left out. */
export function byteRanges(
  ...ranges: readonly (readonly [first: number, last: number])[]
): ByteSet {
  const set = new Uint8Array(BYTES)
  for (const [first, last] of ranges) {
    set.fill(1, Math.min(first, BYTES), Math.min(last + 1, BYTES))
  }
  return set
}

export function union(...sets: readonly ByteSet[]): ByteSet {
  return byteSet((byte) => sets.some((set) => set[byte] === 1))
}

export function complement(of: ByteSet): ByteSet {
  return byteSet((byte) => of[byte] !== 1)
}

export function without(set: ByteSet, removed: number): ByteSet {
  return byteSet((byte) => set[byte] === 1 && byte !== removed)
}

export function intersects(a: ByteSet, b: ByteSet): boolean {
  return a.some((member, byte) => member === 1 && b[byte] === 1)
}

/** Adds the other case of ASCII letters, as the C collation does. */
export function foldCase(set: ByteSet): ByteSet {
  return byteSet((byte) => set[byte] === 1 || set[otherCase(byte)] === 1)
}

function otherCase(byte: number): number {
  const upper = byte & ~0x20
  return upper >= 0x41 && upper <= 0x5a ? byte ^ 0x20 : byte
}

/** The members as ranges, in order. */
export function rangesOf(set: ByteSet): [first: number, last: number][] {
  const ranges: [number, number][] = []
  set.forEach((member, byte) => {
    const open = ranges.at(-1)
    if (member === 1 && open?.[1] === byte - 1) {
      open[1] = byte
    } else if (member === 1) {
      ranges.push([byte, byte])
    }
  })
  return ranges
}

function byteSet(has: (byte: number) => boolean): ByteSet {
  return Uint8Array.from({ length: BYTES }, (_, byte) => (has(byte) ? 1 : 0))
}
