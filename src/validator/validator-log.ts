/**
 * The log that a module is given: every line names the module (and the connection), and no token that
 * the host knows of gets through.
 *
 * @module
 */
import type { Log } from '../log.ts'
import type { ValidatorLog } from './contract.ts'
import { describeThrown } from './describe-thrown.ts'
import { scrubFields, scrubText, type Secrets } from './scrub.ts'

/**
 * Wraps a log for a module. A line is written with the module's fields under `fields`, so that they
 * cannot pass for the host's; it never throws.
 *
 * @param log - already bound to the names of module and connection.
 * @param secrets - asked at every line.
 */
export function createValidatorLog(log: Log, secrets: () => Secrets): ValidatorLog {
  const at =
    (level: 'debug' | 'log' | 'warning') =>
    (message: unknown, fields?: unknown): void => {
      const known = secrets()
      const text = scrubText(describeThrown(message), known)
      if (fields === undefined) {
        log[level](text)
        return
      }
      log[level](text, { fields: scrubFields(fields, known) })
    }
  return Object.freeze({ debug: at('debug'), log: at('log'), warning: at('warning') })
}
