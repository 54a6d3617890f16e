/**
 * The host of validator modules: one session per connection, which owns the module's state and calls its
 * callbacks in PostgreSQL's order (`auth-oauth.c`). Whatever a module does, a session answers in
 * time, says yes only to exactly `authorized: true`, and logs no token.
 *
 * @module
 */
import type { Log } from '../log.ts'
import { Cancellation, type Settled, settlesWithin } from './cancellation.ts'
import { createState, run, type StateParts } from './connection-state.ts'
import type { ConnectionInfo, ValidatorLog, ValidatorState } from './contract.ts'
import { describeThrown } from './describe-thrown.ts'
import type { LoadedValidator } from './loaded-validator.ts'
import { NO_SECRETS, type Secrets, scrubText } from './scrub.ts'
import type { Turn } from './turns.ts'
import {
  type InternalErrorOutcome,
  RemoteFault,
  codeOfThrown,
  internalError,
  readValidationResult,
  type ValidationOutcome,
} from './validation-outcome.ts'
import { createValidationRequest, type ValidationInput } from './validation-request.ts'
import { createValidatorLog } from './validator-log.ts'
import {
  INTERNAL_ERROR,
  SETTLE_GRACE_MS,
  SHUTDOWN_TIMEOUT_MS,
  ValidatorFaultError,
  type ValidatorSession,
  type ValidatorSessionOptions,
} from './validator-session.ts'

export { ValidatorFaultError, type ValidatorSession, type ValidatorSessionOptions }

/** Opens the session of one connection. Nothing of the module runs before `startup`. */
export function openValidatorSession(
  loaded: LoadedValidator,
  options: ValidatorSessionOptions,
): ValidatorSession {
  return new InProcessSession(loaded, options)
}

// What PostgreSQL's ereport() says where it names no other.
const ERRCODE_INTERNAL_ERROR = 'XX000'

const NOTHING_TO_START = Promise.resolve(true)
const FORGOTTEN: Secrets = { tokens: [], forgotten: true }

type Phase = 'new' | 'starting' | 'ready' | 'validating' | 'done' | 'failed' | 'ended'
type CallbackName = 'startup' | 'validate' | 'shutdown'

class InProcessSession implements ValidatorSession, StateParts {
  readonly #loaded: LoadedValidator
  readonly #connection: ConnectionInfo
  readonly #log: Log
  readonly #cancellation: Cancellation
  readonly #state: ValidatorState
  #phase: Phase = 'new'
  #secrets: Secrets = NO_SECRETS
  /** Settles when `startup` has: true where there is something to shut down. */
  #started: Promise<boolean> | undefined
  #validation: Promise<unknown> | undefined
  #ending: Promise<void> | undefined

  constructor(loaded: LoadedValidator, options: ValidatorSessionOptions) {
    this.#loaded = loaded
    const { id, database, clientAddress, tls } = options.connection
    this.#connection = Object.freeze({ id, database, clientAddress, tls })
    this.#log = options.log.child({ validator: loaded.name, connection: this.#connection.id })
    this.#cancellation = new Cancellation(options.signal)
    this.#state = createState(this)
  }

  makeLog(): ValidatorLog {
    return createValidatorLog(this.#log, () => this.#secrets)
  }

  get signal(): AbortSignal {
    return this.#cancellation.signal
  }

  async startup(): Promise<void> {
    this.#enter('new', 'starting')
    const fault = this.#cancelled('startup') ?? (await this.#callStartup())
    if (fault !== undefined) {
      this.#leave('starting', 'failed')
      this.#warn('startup', fault)
      throw new ValidatorFaultError(this.#loaded.name, fault.reason, fault.logDetail)
    }
    this.#leave('starting', 'ready')
  }

  async validate(input: ValidationInput): Promise<ValidationOutcome> {
    this.#enter('ready', 'validating')
    const outcome = this.#cancelled('validate') ?? (await this.#callValidate(input))
    if (outcome.kind === 'internal_error') {
      this.#warn('validate', outcome)
    }
    this.#leave('validating', 'done')
    // What is left is the session: only its end is news to the module.
    this.#cancellation.release()
    return outcome
  }

  shutdown(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  async #callStartup(): Promise<InternalErrorOutcome | undefined> {
    const { startup } = this.#loaded.callbacks
    if (startup === undefined) {
      this.#started = NOTHING_TO_START
      return undefined
    }
    const work = run(() => startup(this.#state, this.#cancellation))
    this.#started = work.then(
      () => true,
      () => false,
    )
    const settled = await this.#cancellation.race(work, this.#loaded.work.timeoutMs)
    if (settled.kind === 'cancelled') {
      this.#noteLate('startup', work, NO_SECRETS)
    }
    return this.#cancelled('startup') ?? thrown('startup', settled, NO_SECRETS)
  }

  async #callValidate(input: ValidationInput): Promise<ValidationOutcome> {
    const { turns } = this.#loaded.work
    const turn = turns.take()
    if (turn === undefined) {
      return internalError(
        'overloaded',
        `${turns.running} validations are running and ${turns.waiting} are waiting`,
      )
    }
    if (turn.comes !== undefined) {
      await this.#cancellation.race(turn.comes)
    }
    const cancelled = this.#cancelled('validate')
    if (cancelled !== undefined) {
      turn.end()
      return cancelled
    }
    return this.#runValidate(input, turn)
  }

  async #runValidate(input: ValidationInput, turn: Turn): Promise<ValidationOutcome> {
    const { token } = input
    const { inFlight, timeoutMs } = this.#loaded.work
    const request = createValidationRequest(input, this.#connection)
    const secrets = { tokens: [token], forgotten: false }
    this.#secrets = secrets
    const letGo = inFlight.hold(token)
    const work = run(() =>
      this.#loaded.callbacks.validate(this.#state, request, this.#cancellation),
    )
    const settles = (): void => {
      turn.end()
      letGo()
      this.#secrets = FORGOTTEN
    }
    this.#validation = work.then(settles, settles)
    const settled = await this.#cancellation.race(work, timeoutMs)
    if (settled.kind === 'cancelled') {
      this.#noteLate('validate', work, secrets)
      // A module that ignores its signal does not keep others from their turn for ever.
      void settlesWithin(work, SETTLE_GRACE_MS).then(() => turn.end())
    }
    return (
      this.#cancelled('validate') ??
      thrown('validate', settled, secrets) ??
      readValidationResult(valueOf(settled), token, secrets)
    )
  }

  async #end(): Promise<void> {
    this.#phase = 'ended'
    this.#cancellation.cancel('aborted')
    this.#cancellation.release()
    if (this.#started === undefined || this.#loaded.callbacks.shutdown === undefined) {
      return
    }
    const work = this.#callShutdown(this.#started)
    if (!(await settlesWithin(work, SHUTDOWN_TIMEOUT_MS))) {
      this.#log.warning('OAuth validator module did not shut down in time', {
        waited_ms: SHUTDOWN_TIMEOUT_MS,
      })
    }
  }

  // May go on after the connection has stopped waiting: every startup that succeeds gets its shutdown.
  async #callShutdown(started: Promise<boolean>): Promise<void> {
    if (!(await started)) {
      return
    }
    if (this.#validation !== undefined) {
      await settlesWithin(this.#validation, SETTLE_GRACE_MS)
    }
    const work = run(() => this.#loaded.callbacks.shutdown?.(this.#state))
    await work.catch((error: unknown) => {
      this.#warn('shutdown', internalError('threw', scrubThrown('shutdown', error, this.#secrets)))
    })
  }

  #enter(from: Phase, to: Phase): void {
    // A connection that ends while its next message is on the way is no mistake of the caller.
    if (this.#phase === 'ended') {
      return
    }
    if (this.#phase !== from) {
      throw new TypeError(`a validator session that is ${this.#phase} cannot be ${to}`)
    }
    this.#phase = to
  }

  #leave(from: Phase, to: Phase): void {
    if (this.#phase === from) {
      this.#phase = to
    }
  }

  #cancelled(name: CallbackName): InternalErrorOutcome | undefined {
    const { reason } = this.#cancellation
    if (reason === undefined) {
      return undefined
    }
    const why = reason === 'timeout' ? 'the deadline passed' : 'the connection ended'
    return internalError(reason, `${why} before ${name} had answered`)
  }

  #noteLate(name: CallbackName, work: Promise<unknown>, secrets: Secrets): void {
    const write = (detail: string): void => {
      // When the client left, a module that gives up is doing what it should.
      const level = this.#cancellation.reason === 'timeout' ? 'log' : 'debug'
      this.#log[level]('OAuth validator module answered too late, the answer is dropped', {
        phase: name,
        detail,
      })
    }
    work.then(
      () => write('it returned'),
      (error: unknown) => write(scrubThrown(name, error, secrets)),
    )
  }

  #warn(name: CallbackName, fault: InternalErrorOutcome): void {
    if (fault.reason === 'aborted') {
      return
    }
    this.#log.warning(INTERNAL_ERROR, {
      phase: name,
      reason: fault.reason,
      detail: fault.logDetail,
      sqlState: ERRCODE_INTERNAL_ERROR,
    })
  }
}

function thrown(
  name: CallbackName,
  settled: Settled<unknown>,
  secrets: Secrets,
): InternalErrorOutcome | undefined {
  if (settled.kind !== 'threw') {
    return undefined
  }
  const { error } = settled
  return error instanceof RemoteFault
    ? internalError(error.reason, scrubText(error.message, secrets))
    : internalError(
        'threw',
        scrubThrown(name, error, secrets),
        codeOfThrown(error, [...secrets.tokens]),
      )
}

function scrubThrown(name: CallbackName, error: unknown, secrets: Secrets): string {
  return `${name} threw: ${scrubText(describeThrown(error), secrets)}`
}

function valueOf(settled: Settled<unknown>): unknown {
  return settled.kind === 'returned' ? settled.value : undefined
}
