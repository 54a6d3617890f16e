/**
 * What is wrong with one rule, and the way out of reading it.
 *
 * @module
 */
import type { AuthToken } from '../auth-file/auth-token.ts'
import type { AuthRecord } from '../auth-file/read-auth-file.ts'
import { toText } from '../byte-string.ts'
import { ConfigFileError, type ConfigFileErrorOptions } from '../errors.ts'

/** How an error differs from a plain F0000. */
export type LineErrorOptions = Pick<ConfigFileErrorOptions, 'sqlState' | 'hint' | 'viewMessage'>

/** Makes the errors of one record. */
export class LineErrors {
  readonly #record: AuthRecord
  readonly #memberships: boolean
  /** What PostgreSQL's view shows where an error has no text of its own there. */
  warning: ConfigFileError | undefined

  constructor(record: AuthRecord, memberships: boolean) {
    this.#record = record
    this.#memberships = memberships
  }

  /** The error, without throwing it: for what PostgreSQL only warns of. */
  make(message: string, options: LineErrorOptions = {}): ConfigFileError {
    const { file, line } = this.#record
    return new ConfigFileError(message, { file, line, ...options })
  }

  /** @throws {@link ConfigFileError} always: reading the rule ends at its first error. */
  fail(message: string, options: LineErrorOptions = {}): never {
    const viewMessage = options.viewMessage === null ? this.warning?.message : undefined
    throw this.make(message, viewMessage === undefined ? options : { ...options, viewMessage })
  }

  /** Refuses a rule that could only be decided with memberships where there are none. */
  needMemberships(token: AuthToken): void {
    if (!this.#memberships) {
      this.fail(`"${toText(token.value)}" needs role memberships, and no source of them is set`, {
        hint: 'Set [role_memberships], or let them be read from the upstream.',
      })
    }
  }
}
