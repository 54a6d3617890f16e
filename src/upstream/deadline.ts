/** One end for everything that waits. @module */
import { connectError } from './errors.ts'

/**
 * Runs `work` with a signal that aborts when `outer` does or after `timeoutMs`, and throws that reason,
 * whatever `work` made of it.
 */
export async function withDeadline<T>(
  outer: AbortSignal,
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  outer.throwIfAborted()
  const controller = new AbortController()
  const abort = (): void => controller.abort(outer.reason)
  const timer = setTimeout(
    () => controller.abort(connectError('connect_timeout', 'timeout expired')),
    timeoutMs,
  )
  outer.addEventListener('abort', abort, { once: true })
  try {
    return await work(controller.signal)
  } catch (error) {
    controller.signal.throwIfAborted()
    throw error
  } finally {
    clearTimeout(timer)
    outer.removeEventListener('abort', abort)
  }
}

/** The promise, or the signal's reason if that comes first. The work behind it goes on. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = (): void => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
  })
  if (signal.aborted) {
    abort()
  }
  try {
    // The race also handles what the loser does later.
    return await Promise.race([aborted, promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
