/** How much a module in a worker may say. */
import { expect, it } from 'vitest'
import {
  CHARACTERS_PER_LINE,
  FloodGate,
  LINES_AT_ONCE,
  LINES_PER_SECOND,
} from '../../../src/validator/worker/flood-gate.ts'

const passed = (gate: FloodGate, lines: number): number =>
  Array.from({ length: lines }, () => gate.lets()).filter(Boolean).length

it('lets a burst through, and then no more', () => {
  const gate = new FloodGate(
    () => {},
    () => 0,
  )
  expect(passed(gate, 3 * LINES_AT_ONCE)).toBe(LINES_AT_ONCE)
})

it('fills up again with time, but not beyond a burst', () => {
  const clock = { ms: 0 }
  const gate = new FloodGate(
    () => {},
    () => clock.ms,
  )
  passed(gate, LINES_AT_ONCE)
  clock.ms = 1000
  expect(passed(gate, 3 * LINES_AT_ONCE)).toBe(LINES_PER_SECOND)
  clock.ms = 3_600_000
  expect(passed(gate, 3 * LINES_AT_ONCE)).toBe(LINES_AT_ONCE)
})

it('counts a long text as many lines', () => {
  const gate = new FloodGate(
    () => {},
    () => 0,
  )
  expect(gate.lets((LINES_AT_ONCE + 1) * CHARACTERS_PER_LINE)).toBe(false)
  expect(gate.lets(LINES_AT_ONCE * CHARACTERS_PER_LINE)).toBe(true)
  expect(gate.lets()).toBe(false)
})

it('says once how much was dropped', async () => {
  const reports: number[] = []
  await new Promise<void>((resolve) => {
    const gate = new FloodGate(
      (lines) => {
        reports.push(lines)
        resolve()
      },
      () => 0,
    )
    passed(gate, LINES_AT_ONCE + 7)
    // The gate's own timer keeps no process alive.
    setTimeout(() => {}, 2000)
  })
  expect(reports).toEqual([7])
})
