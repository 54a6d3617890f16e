/**
 * What every callback of a module is given, and how it is called.
 *
 * @module
 */
import { VERSION } from '../version.ts'
import type { ValidatorLog, ValidatorState } from './contract.ts'

/**
 * Makes the state of one connection. Only `privateData` can be written, and nothing added: what a module
 * keeps has one place.
 *
 * @param signal - asked when the module first looks at it.
 */
export function createState(log: ValidatorLog, signal: () => AbortSignal): ValidatorState {
  return new ConnectionState(log, signal)
}

class ConnectionState implements ValidatorState {
  privateData: unknown = undefined
  readonly #log: ValidatorLog
  readonly #signal: () => AbortSignal

  constructor(log: ValidatorLog, signal: () => AbortSignal) {
    this.#log = log
    this.#signal = signal
    Object.seal(this)
  }

  get log(): ValidatorLog {
    return this.#log
  }

  get signal(): AbortSignal {
    return this.#signal()
  }

  get hostVersion(): string {
    return VERSION
  }
}

/** Calls a callback: a synchronous throw, a rejection and a thenable that misbehaves all become one promise. */
export function run(callback: () => unknown): Promise<unknown> {
  return new Promise((resolve) => {
    resolve(callback())
  })
}
