/**
 * One call of the callback, from its start until it has settled or is written off.
 *
 * @module
 */
import { TokenCallbackError, TokenTimeoutError, messageOf } from '../errors.ts'
import { bearerTokenFault } from './bearer-token.ts'
import type { CancelTimer, Clock } from './clock.ts'
import { type TokenCredential, copyCredential } from './credential.ts'
import type { ClientLog } from './provider-options.ts'

/** Fires when a cancelled call has had its grace and still goes on. */
export function writtenOff(
  clock: Clock,
  graceMs: number,
  signal: AbortSignal,
): { readonly promise: Promise<void>; readonly stop: CancelTimer } {
  let cancel: CancelTimer = () => {}
  let arm = (): void => {}
  const promise = new Promise<void>((resolve) => {
    arm = () => {
      cancel = clock.after(graceMs, resolve, { background: true })
    }
    signal.addEventListener('abort', arm, { once: true })
  })
  const stop = (): void => {
    signal.removeEventListener('abort', arm)
    cancel()
  }
  return { promise, stop }
}

/**
 * The provider's own copy of what the callback returned.
 *
 * @throws TypeError if it is no credential, or its token could never be sent.
 */
export function acceptCredential(value: unknown, log: ClientLog | undefined): TokenCredential {
  const credential = copyCredential(value, (property) => {
    log?.debug('token callback returned an unknown property', { property })
  })
  const fault = bearerTokenFault(credential.accessToken)
  if (fault !== undefined) {
    throw new TypeError(fault)
  }
  return credential
}

/** What the waiters of a failed call are told. */
export function callFailure(
  cause: unknown,
  timedOut: boolean,
): TokenTimeoutError | TokenCallbackError {
  if (cause instanceof TokenTimeoutError) {
    return cause
  }
  return timedOut
    ? new TokenTimeoutError('the token callback did not answer in time', { cause })
    : new TokenCallbackError(`user-defined OAuth flow failed: ${messageOf(cause)}`, { cause })
}
