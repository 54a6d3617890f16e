/**
 * The lock around one callback: whose turn it is, and how long a call may take.
 *
 * @module
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { TokenTimeoutError } from '../errors.ts'
import type { TokenFunction } from './callback.ts'
import { type CancelTimer, type Clock, sleep } from './clock.ts'
import type { TokenCredential } from './credential.ts'
import type { ClientLog } from './provider-options.ts'
import { type TokenRequest, type TokenRequestFields, tokenRequest } from './request.ts'
import { acceptCredential, writtenOff } from './token-call.ts'
import type { TokenFlight } from './token-flight.ts'

// libmongoc: at least this long between the end of one call and the start of the next.
const CALL_SPACING_MS = 100

export interface CallbackTurnsOptions {
  readonly fn: TokenFunction
  readonly context: unknown
  readonly clock: Clock
  /** From the start of a call; may be infinite. */
  readonly timeoutMs: number
  /** From when a call was cancelled. */
  readonly graceMs: number
  readonly log: ClientLog | undefined
}

/** What a turn is for. */
export interface CallbackTurn {
  /** Everybody who waits for the result. */
  readonly flight: Pick<TokenFlight<unknown>, 'signal' | 'expire' | 'fail'>
  /** Called when it is this one's turn: what is wanted, or undefined where that has come to nothing. */
  begin(): Omit<TokenRequestFields, 'context' | 'deadline' | 'signal'> | undefined
  /** The callback has returned a credential, and is not written off. */
  succeed(credential: TokenCredential, request: TokenRequest): void
  /** The callback has failed, or taken too long. */
  fail(cause: unknown): void
  /** The turn has passed, with a call or without. */
  end(): void
}

/** A call from its start until it has settled or is written off. */
interface Call {
  over: boolean
}

/** Never two calls of a callback in flight, and time between them. */
export class CallbackTurns {
  readonly #options: CallbackTurnsOptions
  readonly #inside = new AsyncLocalStorage<Call>()
  #turn: Promise<void> = Promise.resolve()
  #lastEnded: number | undefined

  constructor(options: CallbackTurnsOptions) {
    this.#options = options
  }

  /** Whether this is asked from within the callback itself: to wait for a turn would be to wait for ever. */
  get isWithinCall(): boolean {
    return this.#inside.getStore()?.over === false
  }

  /** Waits for the turn after all others. */
  queue(turn: CallbackTurn): void {
    // #take never rejects: one failed call must not fail the next.
    this.#turn = this.#turn.then(() => this.#take(turn))
  }

  async #take(turn: CallbackTurn): Promise<void> {
    const { flight } = turn
    try {
      await this.#space(flight.signal)
      const wanted = turn.begin()
      if (wanted !== undefined) {
        await this.#call(turn, this.#requestFor(wanted, flight.signal))
      }
    } catch (error) {
      flight.fail(error)
    } finally {
      turn.end()
    }
  }

  async #space(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    const earliest = (this.#lastEnded ?? -Infinity) + CALL_SPACING_MS
    // A timer may fire up to a millisecond early; the promise is "at least".
    for (let wait = earliest - clock.now(); wait > 0; wait = earliest - clock.now()) {
      await sleep(clock, Math.ceil(wait), signal)
    }
  }

  #requestFor(wanted: ReturnType<CallbackTurn['begin']>, signal: AbortSignal): TokenRequest {
    const { context, clock, timeoutMs } = this.#options
    const deadline = Number.isFinite(timeoutMs) ? clock.now() + timeoutMs : undefined
    return tokenRequest<unknown>({ ...wanted, context, deadline, signal })
  }

  async #call(turn: CallbackTurn, request: TokenRequest): Promise<void> {
    const { clock, graceMs } = this.#options
    const call: Call = { over: false }
    const stopDeadline = this.#armDeadline(turn)
    const grace = writtenOff(clock, graceMs, request.signal)
    await Promise.race([this.#ask(call, turn, request), grace.promise])
    call.over = true
    stopDeadline()
    grace.stop()
    this.#lastEnded = clock.now()
  }

  /** Never rejects. */
  async #ask(call: Call, turn: CallbackTurn, request: TokenRequest): Promise<void> {
    const { fn, log } = this.#options
    try {
      const value = await this.#inside.run(call, async () => fn(request))
      const credential = acceptCredential(value, log)
      if (!call.over) {
        turn.succeed(credential, request)
      }
    } catch (error) {
      turn.fail(error)
    } finally {
      call.over = true
    }
  }

  #armDeadline(turn: CallbackTurn): CancelTimer {
    const { clock, timeoutMs } = this.#options
    if (!Number.isFinite(timeoutMs)) {
      return () => {}
    }
    return clock.after(timeoutMs, () => {
      const error = new TokenTimeoutError(
        `the token callback did not answer within ${timeoutMs} ms`,
      )
      turn.flight.expire(error)
      // A credential that is returned in answer to the abort still counts.
      setImmediate(() => turn.fail(error))
    })
  }
}
