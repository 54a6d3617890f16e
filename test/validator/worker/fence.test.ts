/** The circuit breaker, by a clock of its own. */
import { expect, it } from 'vitest'
import {
  Fence,
  FENCE_AFTER,
  FENCE_MS,
  FENCE_WINDOW_MS,
  LONGEST_FENCE_MS,
} from '../../../src/validator/worker/fence.ts'

function fenced(): { fence: Fence; clock: { ms: number } } {
  const clock = { ms: 1000 }
  const fence = new Fence(() => clock.ms)
  for (let end = 1; end < FENCE_AFTER; end += 1) {
    expect(fence.noteEnd()).toBe(false)
  }
  expect(fence.leftMs).toBe(0)
  expect(fence.noteEnd()).toBe(true)
  return { fence, clock }
}

it('fences off at the fifth end within the window', () => {
  const { fence, clock } = fenced()
  expect(fence.leftMs).toBe(FENCE_MS)
  clock.ms += FENCE_MS
  expect(fence.leftMs).toBe(0)
})

it('does not count ends that are longer ago than the window', () => {
  const clock = { ms: 0 }
  const fence = new Fence(() => clock.ms)
  for (let end = 0; end < 4 * FENCE_AFTER; end += 1) {
    expect(fence.noteEnd()).toBe(false)
    clock.ms += FENCE_WINDOW_MS / (FENCE_AFTER - 1)
  }
})

it('takes one end after a fence for a failed try, and waits twice as long, up to a limit', () => {
  const { fence, clock } = fenced()
  const lengths: number[] = []
  for (let attempt = 0; attempt < 6; attempt += 1) {
    clock.ms += fence.leftMs + 2500
    expect(fence.noteEnd()).toBe(true)
    lengths.push(fence.leftMs)
  }
  expect(lengths).toEqual([60_000, 120_000, 240_000, 240_000, 240_000, LONGEST_FENCE_MS])
})

it('begins anew with a module that has behaved for a while', () => {
  const { fence, clock } = fenced()
  clock.ms += FENCE_MS + FENCE_WINDOW_MS
  expect(fence.noteEnd()).toBe(false)
  expect(fence.recently).toBe(1)
})

it('is not prolonged by the other workers of a pool that end behind it', () => {
  const { fence, clock } = fenced()
  clock.ms += 1000
  expect(fence.noteEnd()).toBe(true)
  expect(fence.leftMs).toBe(FENCE_MS - 1000)
})
