import { afterAll, beforeAll } from 'vitest'

/**
 * Starts something before the tests of a file (or of a `describe`) and ends it after them.
 *
 * @returns a function that gives it to a test.
 * @example
 * ```ts
 * const server = perFile(() => startAuthorizationServer())
 * test('…', async () => { await server().mintToken() })
 * ```
 */
export function perFile<T extends AsyncDisposable>(start: () => Promise<T>): () => T {
  let started: T | undefined
  beforeAll(async () => {
    started = await start()
  })
  afterAll(async () => {
    await started?.[Symbol.asyncDispose]()
    started = undefined
  })
  return () => {
    if (started === undefined) {
      throw new Error('this is there only while the tests run')
    }
    return started
  }
}
