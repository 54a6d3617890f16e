/**
 * Role memberships of the server behind, kept fresh.
 *
 * @module
 */
import type { RoleMemberships } from '../auth-file/role-memberships.ts'
import type { ByteString } from '../byte-string.ts'
import { MembershipsUnknownError, ReportError } from '../errors.ts'
import type { Log, LogFields } from '../log.ts'
import { type CatalogTarget, isSameCatalog, readCatalog } from './read-catalog.ts'
import type { RoleGraph } from './role-graph.ts'

export interface CatalogMembershipsOptions {
  readonly target: CatalogTarget
  /** From one reading to the next, in ms. */
  readonly refreshMs: number
  readonly log: Log
}

interface Answer {
  readonly graph: RoleGraph
  /** When it was asked for, by `performance.now()`. */
  readonly at: number
}

/** After a failure the next attempt comes no later than this, in ms. */
const RETRY_MS = 5000

/**
 * Asks the catalog at an interval. The last answer serves while the server is away, however old; before the
 * first one nobody knows, and `isMember` throws.
 */
export class CatalogMemberships implements RoleMemberships {
  readonly #options: CatalogMembershipsOptions
  readonly #stopped = new AbortController()
  #answer: Answer | undefined
  #failing = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: CatalogMembershipsOptions) {
    this.#options = options
  }

  /** @throws MembershipsUnknownError before the first answer. */
  isMember(role: ByteString, group: ByteString): boolean {
    if (this.#answer === undefined) {
      throw new MembershipsUnknownError()
    }
    return this.#answer.graph.isMember(role, group)
  }

  /** Begins with what another one knows, where both ask the same catalog. */
  inherit(from: CatalogMemberships): void {
    if (isSameCatalog(from.#options.target, this.#options.target)) {
      this.#answer = from.#answer
    }
  }

  /**
   * Asks for the first time, and from then on at the interval. Resolves after one attempt, good or bad.
   *
   * @param signal - stops it, if it comes before that.
   */
  async start(signal: AbortSignal): Promise<void> {
    const stop = (): void => this.stop()
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) {
      stop()
    }
    await this.#refresh()
    signal.removeEventListener('abort', stop)
  }

  /** Asks no more; what is known goes on to serve. */
  stop(): void {
    this.#stopped.abort(new Error('stopped'))
    clearTimeout(this.#timer)
  }

  async #refresh(): Promise<void> {
    const { target, refreshMs, log } = this.#options
    const { signal } = this.#stopped
    const at = performance.now()
    try {
      const graph = await readCatalog(target, { signal, log })
      this.#succeeded({ graph, at })
    } catch (error) {
      if (!signal.aborted) {
        this.#failed(error)
      }
    }
    if (!signal.aborted) {
      const wait = this.#failing ? Math.min(refreshMs, RETRY_MS) : refreshMs
      this.#timer = setTimeout(() => void this.#refresh(), wait).unref()
    }
  }

  #succeeded(answer: Answer): void {
    const { log } = this.#options
    const fields = { roles: answer.graph.size, previousAge: this.#age() }
    if (this.#failing) {
      log.log('role memberships were read again', fields)
    } else {
      log.debug('role memberships were read', fields)
    }
    this.#failing = false
    this.#answer = answer
  }

  /** One line when it begins to fail: nothing here is per login. */
  #failed(error: unknown): void {
    const { log } = this.#options
    const fields = { ...describeFailure(error), age: this.#age() }
    if (this.#failing) {
      log.debug('could not read role memberships', fields)
    } else if (this.#answer === undefined) {
      log.error(
        'could not read role memberships; until they are read, whoever reaches a rule that asks for them is refused',
        fields,
      )
    } else {
      log.warning('could not read role memberships; the last ones stay in force', fields)
    }
    this.#failing = true
  }

  /** Of the answer in force, in whole seconds. */
  #age(): string | undefined {
    return this.#answer && `${Math.round((performance.now() - this.#answer.at) / 1000)} s`
  }
}

function describeFailure(error: unknown): LogFields {
  if (!(error instanceof ReportError)) {
    return { detail: error instanceof Error ? error.message : String(error) }
  }
  const { code, reason, message, logDetail } = error
  return { code, reason, detail: logDetail === undefined ? message : `${message}: ${logDetail}` }
}
