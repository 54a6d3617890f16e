/**
 * Errors that cost nothing. Somebody who sends nothing but bad tokens must not make us collect a stack
 * for each: that takes longer than finding out that a token is bad.
 *
 * @module
 */

/** Runs `work`; errors that are made meanwhile have no stack. */
export function withoutStacks<T>(work: () => T): T {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return work()
  } finally {
    Error.stackTraceLimit = limit
  }
}

/** The base of errors that are answers, not accidents. */
export abstract class ErrorWithoutStack extends Error {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(message, options)
    Error.stackTraceLimit = limit
  }
}
