/**
 * A reload that nobody waits for: the log says what came of it.
 *
 * @module
 */
import { ConfigError } from '../errors.ts'
import type { Log } from '../log.ts'

/** Reloads; every error is a line of the log. Never rejects. */
export async function logReload(
  server: { readonly reload: () => Promise<void> },
  log: Log,
): Promise<void> {
  try {
    await server.reload()
    log.log('configuration was reloaded')
  } catch (error) {
    for (const problem of error instanceof ConfigError ? error.errors : [error]) {
      logProblem(problem, log)
    }
    log.error('configuration was not reloaded')
  }
}

function logProblem(problem: unknown, log: Log): void {
  const message = problem instanceof Error ? problem.message : String(problem)
  const { code, file, line } = (problem ?? {}) as { code?: string; file?: string; line?: number }
  log.error(message, { code, file, line })
}
