/**
 * The function that supplies tokens, and what belongs to it: the counterpart of
 * `mongoc_oidc_callback_t`.
 *
 * @module
 */
import type { CredentialLike } from './credential.ts'
import type { TokenRequest } from './request.ts'

/**
 * Supplies a token. To return (or resolve with) a credential is success; to throw or reject is
 * failure; `request.timedOut()` is a timeout. A credential that is returned counts even if the signal
 * fired meanwhile.
 *
 * One provider never has two calls of it in flight. Under several providers the calls may overlap, and
 * the function must stand that.
 */
export type TokenFunction<Context = unknown> = (
  request: TokenRequest<Context>,
) => CredentialLike | PromiseLike<CredentialLike>

/** What a callback carries besides its function. */
export interface TokenCallbackOptions<Context = unknown> {
  /** Handed to every call as `request.context` (libmongoc's user data); neither copied nor disposed. */
  readonly context?: Context
  /** A person may have to do something: calls get 5 minutes, not 1. Default false. */
  readonly interactive?: boolean
}

/**
 * A token function with its context. Properties may be set until the callback is handed to a provider,
 * which takes its own copy: later changes have no effect (a change inside a mutable `context` is seen).
 */
export class TokenCallback<Context = unknown> {
  #fn: TokenFunction<Context>
  #interactive: boolean
  /** Libmongoc's user data. */
  context: Context

  constructor(fn: TokenFunction<Context>, options: TokenCallbackOptions<Context> = {}) {
    this.#fn = checkedFunction(fn)
    this.context = options.context as Context
    this.#interactive = options.interactive ?? false
  }

  /** The function; never anything else. */
  get fn(): TokenFunction<Context> {
    return this.#fn
  }

  set fn(fn: TokenFunction<Context>) {
    this.#fn = checkedFunction(fn)
  }

  get interactive(): boolean {
    return this.#interactive
  }

  set interactive(interactive: boolean) {
    this.#interactive = interactive
  }
}

/**
 * Makes a callback.
 *
 * @throws TypeError if `fn` is not a function.
 *
 * @example
 * ```ts
 * const callback = tokenCallback(
 *   async ({ context, signal }) => credential(await context.fetchToken(signal)),
 *   { context: vault },
 * )
 * ```
 */
export function tokenCallback<Context = undefined>(
  fn: TokenFunction<Context>,
  options: TokenCallbackOptions<Context> = {},
): TokenCallback<Context> {
  return new TokenCallback(fn, options)
}

function checkedFunction<F>(fn: F): F {
  if (typeof fn !== 'function') {
    throw new TypeError('a token callback must be a function')
  }
  return fn
}
