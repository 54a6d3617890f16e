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
 * @param made - each is asked for when the module first looks at it: most look at neither.
 */
export function createState(made: StateParts): ValidatorState {
  return new ConnectionState(made)
}

/** What a state makes when it is asked for. */
export interface StateParts {
  makeLog(): ValidatorLog
  /** The same one every time. */
  readonly signal: AbortSignal
}

class ConnectionState implements ValidatorState {
  privateData: unknown = undefined
  readonly #made: StateParts
  #log: ValidatorLog | undefined

  constructor(made: StateParts) {
    this.#made = made
    Object.seal(this)
  }

  get log(): ValidatorLog {
    this.#log ??= this.#made.makeLog()
    return this.#log
  }

  get signal(): AbortSignal {
    return this.#made.signal
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
