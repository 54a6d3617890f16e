import { describe, expect, test, vi } from 'vitest'
import { abortable, withDeadline } from '../../src/upstream/deadline.ts'

const never = new Promise<never>(() => {})
const gone = new Error('the client has gone')

describe('a wait', () => {
  test('ends with the reason of its signal', async () => {
    const controller = new AbortController()
    const waiting = abortable(never, controller.signal)
    controller.abort(gone)
    await expect(waiting).rejects.toBe(gone)
  })

  test('does not begin with a signal that has aborted, and minds what fails later', async () => {
    const failing = Promise.reject(new Error('too late'))
    await expect(abortable(failing, AbortSignal.abort(gone))).rejects.toBe(gone)
  })

  test('gives what it waited for', async () => {
    const { signal } = new AbortController()
    expect(await abortable(Promise.resolve(1), signal)).toBe(1)
    await expect(abortable(Promise.reject(gone), signal)).rejects.toBe(gone)
  })
})

describe('a deadline', () => {
  test('throws its own reason, whatever the work throws when it is aborted', async () => {
    const controller = new AbortController()
    const running = withDeadline(controller.signal, 60_000, (signal) => {
      const failing = new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('socket closed')))
      })
      controller.abort(gone)
      return failing
    })
    await expect(running).rejects.toBe(gone)
  })

  test('passes on what the work throws by itself', async () => {
    const { signal } = new AbortController()
    const running = withDeadline(signal, 60_000, () => Promise.reject(gone))
    await expect(running).rejects.toBe(gone)
  })

  test('aborts nothing once the work is done', async () => {
    vi.useFakeTimers()
    try {
      const controller = new AbortController()
      const inner = await withDeadline(controller.signal, 60_000, (signal) =>
        Promise.resolve(signal),
      )
      controller.abort()
      expect(vi.getTimerCount()).toBe(0)
      expect(inner.aborted).toBe(false)
    } finally {
      vi.useRealTimers()
    }
  })
})
