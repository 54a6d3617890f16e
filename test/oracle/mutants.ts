/** Conversations with something wrong in them, the same ones for the same number. */
import { Buffer } from 'node:buffer'
import { SCRIPTS } from './scripts/index.ts'

const INTERESTING = [0, 1, 2, 4, 0x20, 0x2c, 0x3d, 0x41, 0x61, 0x6e, 0x70, 0x7f, 0x80, 0xff]

/** mulberry32. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** One script's steps without TLS; one of them has up to three bytes changed, put in, cut or doubled. */
export function mutant(seed: number): readonly Buffer[] {
  const below = random(seed)
  const plain = SCRIPTS.filter(
    ({ steps }) => steps.length > 1 && steps.every((step) => step instanceof Uint8Array),
  )
  const script = plain[below(plain.length)]
  const steps: Buffer[] = (script?.steps ?? []).map((step) => Buffer.from(step as Uint8Array))
  const which = below(4) === 0 ? 0 : 1 + below(steps.length - 1)
  for (let change = 0; change <= below(3); change += 1) {
    // Names that are not UTF-8 are refused here, and handed to the validator there.
    steps[which] = changed(steps[which] ?? Buffer.alloc(0), below, which === 0 ? 0x7f : 0xff)
  }
  return steps
}

function changed(bytes: Buffer, below: (below: number) => number, mask: number): Buffer {
  const at = below(bytes.length + 1)
  const byte = Buffer.from([
    (below(2) === 0 ? below(256) : (INTERESTING[below(INTERESTING.length)] ?? 0)) & mask,
  ])
  const [before, behind] = [bytes.subarray(0, at), bytes.subarray(at)]
  switch (below(5)) {
    case 0:
      return Buffer.concat([before, byte, behind])
    case 1:
      return Buffer.concat([before, behind.subarray(1)])
    case 2:
      return Buffer.concat([before, behind.subarray(below(8))])
    case 3:
      return before
    default:
      return Buffer.concat([before, byte, behind.subarray(1)])
  }
}
