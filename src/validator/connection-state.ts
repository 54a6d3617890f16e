/**
 * What every callback of a module is given, and how it is called.
 *
 * @module
 */
import { VERSION } from '../version.ts'
import type { ValidatorLog, ValidatorState } from './contract.ts'

/**
 * The state of one connection. Only `privateData` can be written, and nothing added: what a module keeps
 * has one place.
 *
 * @param signal - asked when the module first looks at it.
 */
export function createState(log: ValidatorLog, signal: () => AbortSignal): ValidatorState {
  return Object.seal(
    Object.defineProperties({} as ValidatorState, {
      privateData: { value: undefined, writable: true, enumerable: true },
      log: { value: log, enumerable: true },
      signal: { get: signal, enumerable: true },
      hostVersion: { value: VERSION, enumerable: true },
    }),
  )
}

/** Calls a callback: a synchronous throw, a rejection and a thenable that misbehaves all become one promise. */
export function run(callback: () => unknown): Promise<unknown> {
  return new Promise((resolve) => {
    resolve(callback())
  })
}
