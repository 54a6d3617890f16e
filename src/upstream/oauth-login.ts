/**
 * OAUTHBEARER with a server that offers it (RFC 7628). The token is in the first message, so whom it is
 * sent to is decided before.
 *
 * ```
 * R(10) ──token──▶ R(0)                logged in
 *                └▶ R(11) ──kvsep──▶ E refused; nothing else may follow
 * ```
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { saslInitialResponse, saslResponse } from '../protocol/frontend-messages.ts'
import type { BearerCredential } from './credential.ts'
import { abortable } from './deadline.ts'
import { loginError, UpstreamRefusedError } from './errors.ts'
import { AUTH, checkMethod, type LoginAttempt, parseAuthentication, role } from './login-attempt.ts'
import type { LoginReader } from './login-reader.ts'

export const OAUTHBEARER = 'OAUTHBEARER'

/** RFC 7628 §3.2.3: what answers a refusal. */
const KVSEP = Buffer.from([1])

/** What fits PG_MAX_AUTH_TOKEN_LENGTH in a SASLInitialResponse with all that stands around it. */
const MAX_TOKEN_LENGTH = 65_497

// RFC 6750 §2.1: anything else could end the key it stands in, and begin another.
const B64TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/

/** The server refused a token that had been kept; a new one may do. */
export class OutdatedTokenError extends Error {
  override readonly name = 'OutdatedTokenError'
  readonly refusal: UpstreamRefusedError

  constructor(refusal: UpstreamRefusedError) {
    super('the server refused a token that had been kept')
    this.refusal = refusal
  }
}

/**
 * Logs in with a token. Returns once AuthenticationOk has been read.
 *
 * @throws {UpstreamRefusedError} where the server refuses the token, with its own bytes.
 * @throws {OutdatedTokenError} where it does, and another try is worth while.
 * @throws {UpstreamError} where there is no token, or none may be sent here.
 */
export async function authenticateOAuth(attempt: LoginAttempt): Promise<void> {
  const { bearer, reader, transport } = attempt
  checkMethod(attempt, 'oauth')
  if (bearer === undefined) {
    throw loginError(
      'no_credential',
      `the server asks ${role(attempt)} for authentication method oauth, and [upstream.oauth] is not set`,
    )
  }
  if (!transport.isTrusted) {
    throw loginError(
      'insecure_transport',
      `the server asks ${role(attempt)} for authentication method oauth; a token is sent only with sslmode verify-full or verify-ca, on a Unix socket, or to this machine`,
    )
  }
  const token = await bearerToken(attempt, bearer)
  reader.tokenSent(token)
  sendToken(attempt, token)
  const { code, data } = parseAuthentication(await reader.next())
  if (code === AUTH.ok && data.length === 0) {
    return
  }
  if (code !== AUTH.saslContinue) {
    throw loginError('protocol_violation', 'the OAUTHBEARER exchange is out of order')
  }
  transport.socket.write(saslResponse(KVSEP))
  const refusal = await readRefusal(reader)
  const mayTryAgain = isInvalidToken(data) && bearer.refused?.(token) === true
  throw mayTryAgain ? new OutdatedTokenError(refusal) : refusal
}

async function bearerToken(attempt: LoginAttempt, bearer: BearerCredential): Promise<string> {
  const { user, signal } = attempt
  const token = await abortable(bearer.bearerToken({ user, signal }), signal).catch(
    (error: unknown) => {
      signal.throwIfAborted()
      // No cause: whose error that is, and what it holds, is not known here.
      const why = error instanceof Error ? error.message : 'unknown error'
      throw loginError('token_unavailable', `there is no token for ${role(attempt)}: ${why}`)
    },
  )
  if (token.length > MAX_TOKEN_LENGTH || !B64TOKEN.test(token)) {
    throw loginError(
      'token_unavailable',
      `the token for ${role(attempt)} is too long or not in the format of RFC 6750`,
    )
  }
  return token
}

function sendToken({ transport }: LoginAttempt, token: string): void {
  const data = Buffer.from(`n,,\u0001auth=Bearer ${token}\u0001\u0001`, 'latin1')
  const message = saslInitialResponse(OAUTHBEARER, data)
  data.fill(0)
  transport.socket.write(message, () => message.fill(0))
}

/** Reads on until the server has said why. A welcome behind a refusal is no login. */
async function readRefusal(reader: LoginReader): Promise<UpstreamRefusedError> {
  try {
    for (let message = await reader.next(); ; message = await reader.next()) {
      if (message.type !== 'N') {
        throw loginError('protocol_violation', 'the server went on after it had refused the token')
      }
    }
  } catch (error) {
    if (error instanceof UpstreamRefusedError) {
      return error
    }
    throw error
  }
}

/** RFC 7628 §3.2.2. Only what it comes to leaves here: a server may repeat the token in it. */
function isInvalidToken(challenge: Buffer): boolean {
  try {
    const { status } = JSON.parse(challenge.toString('utf8')) as { status?: unknown }
    return status === 'invalid_token'
  } catch {
    return false
  }
}
