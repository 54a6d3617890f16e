/**
 * The device authorization grant (RFC 8628), as libpq does it.
 *
 * @module
 */
import { OAuthConnectionError, OAuthGrantError } from '../errors.ts'
import {
  type GrantClient,
  type GrantOptions,
  credentialOf,
  openGrants,
} from '../grants/grant-client.ts'
import { printable } from '../grants/printable.ts'
import { TokenCallback } from '../token/callback.ts'
import { type Clock, monotonicClock, sleep } from '../token/clock.ts'
import type { TokenCredential } from '../token/credential.ts'
import type { TokenRequest } from '../token/request.ts'
import { refreshOr } from './grant-sources.ts'

/** What a person needs to know. The texts come from the authorization server: do not print them raw. */
export interface DevicePrompt {
  readonly verificationUri: string
  readonly userCode: string
  /** With the code filled in, for a QR code; show the other two as well. */
  readonly verificationUriComplete: string | undefined
  readonly expiresInSeconds: number
  /** Fires when the prompt is no longer needed. */
  readonly signal: AbortSignal
}

export interface DeviceFlowOptions extends GrantOptions {
  /** Default: libpq's line on stderr. A prompt that fails ends the login. */
  readonly prompt?: ((prompt: DevicePrompt) => PromiseLike<void> | void) | undefined
  /** For tests. */
  readonly clock?: Clock | undefined
}

const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'
const SLOW_DOWN_SECONDS = 5
const LONGEST_INTERVAL_SECONDS = 300

/** A login on another device: the person opens a page there and types a code. */
export function deviceFlowSource(options: DeviceFlowOptions): TokenCallback<undefined> {
  return new TokenCallback<undefined>(
    (request) => refreshOr(options, request, () => logIn(options, request)),
    { interactive: true },
  )
}

async function logIn(options: DeviceFlowOptions, request: TokenRequest): Promise<TokenCredential> {
  const grants = await openGrants(options, request)
  const { clock = monotonicClock, prompt = printPrompt } = options
  const device = await grants.requestDeviceAuthorization()
  const deadline = clock.now() + device.expires_in * 1000
  await prompt({
    verificationUri: device.verification_uri,
    userCode: device.user_code,
    verificationUriComplete: device.verification_uri_complete,
    expiresInSeconds: device.expires_in,
    signal: request.signal,
  })
  let interval = device.interval ?? SLOW_DOWN_SECONDS
  for (;;) {
    const wait = Math.min(interval * 1000, deadline - clock.now())
    await sleep(clock, Math.max(0, wait), request.signal)
    if (clock.now() >= deadline) {
      throw new OAuthGrantError('could not obtain access token: the device code has expired', {
        error: 'expired_token',
      })
    }
    const answer = await poll(grants, device.device_code)
    if (typeof answer !== 'function') {
      return answer
    }
    interval = Math.min(answer(interval), Math.max(interval, LONGEST_INTERVAL_SECONDS))
  }
}

/** The credential, or how long to wait after the interval so far. */
async function poll(
  grants: GrantClient,
  deviceCode: string,
): Promise<TokenCredential | ((interval: number) => number)> {
  try {
    return credentialOf(await grants.requestToken(DEVICE_CODE, { device_code: deviceCode }))
  } catch (error) {
    if (error instanceof OAuthGrantError && error.error === 'authorization_pending') {
      return (interval) => interval
    }
    if (error instanceof OAuthGrantError && error.error === 'slow_down') {
      return (interval) => interval + SLOW_DOWN_SECONDS
    }
    // RFC 8628 §3.5: back off exponentially when the server cannot be reached.
    if (error instanceof OAuthConnectionError) {
      return (interval) => interval * 2
    }
    throw error
  }
}

function printPrompt({ verificationUri, userCode }: DevicePrompt): void {
  process.stderr.write(
    `Visit ${printable(verificationUri)} and enter the code: ${printable(userCode)}\n`,
  )
}
