/** Answers what the server asks for, up to AuthenticationOk. @module */
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { serialize } from 'pg-protocol'
import { type ByteString, toBytes } from '../byte-string.ts'
import { loginError } from './errors.ts'
import {
  AUTH,
  checkMethod,
  credentialFor,
  expectOk,
  type LoginAttempt,
  parseAuthentication,
  role,
} from './login-attempt.ts'
import type { RawMessage } from './login-reader.ts'
import { authenticateScram, SCRAM_MECHANISMS } from './scram-login.ts'
import { authenticateOAuth, OAUTHBEARER } from './oauth-login.ts'
import type { UpstreamAuthMethod } from './settings.ts'

/** What libpq's `require_auth` calls the codes that we cannot answer. */
const UNSUPPORTED: Readonly<Record<number, string>> = {
  2: 'krb5',
  4: 'crypt',
  6: 'creds',
  7: 'gss',
  8: 'gss',
  9: 'sspi',
}

const MD5_SALT_LENGTH = 4

/**
 * Logs in. Returns once AuthenticationOk has been read and, with SCRAM, the server has proved itself.
 *
 * @param first - the first Authentication message.
 * @returns the method, for the log.
 * @throws {UpstreamRefusedError} where the server refuses.
 * @throws {UpstreamError} where we do not answer, or the server breaks the protocol.
 */
export async function authenticate(
  attempt: LoginAttempt,
  first: RawMessage,
): Promise<UpstreamAuthMethod> {
  const { code, data } = parseAuthentication(first)
  switch (code) {
    case AUTH.ok:
      checkMethod(attempt, 'none')
      return 'none'
    case AUTH.password:
      checkMethod(attempt, 'password')
      await sendPassword(attempt, password(attempt, 'password'))
      return 'password'
    case AUTH.md5: {
      checkMethod(attempt, 'md5')
      const secret = password(attempt, 'md5')
      if (data.length !== MD5_SALT_LENGTH) {
        throw loginError('protocol_violation', 'the salt of an MD5 request must have four bytes')
      }
      await sendPassword(attempt, md5Response(secret, attempt.user, data))
      return 'md5'
    }
    case AUTH.sasl:
      return authenticateSasl(attempt, data)
    default:
      throw loginError(
        'method_not_supported',
        `the server asks ${role(attempt)} for authentication method ${UNSUPPORTED[code] ?? code}, which is not supported`,
      )
  }
}

/**
 * The server's offer decides. Where it offers both, a password of the role goes before a token: SCRAM shows
 * the server neither.
 *
 * @param data - of AuthenticationSASL: the mechanisms, each NUL-terminated, and an empty one.
 */
async function authenticateSasl(attempt: LoginAttempt, data: Buffer): Promise<UpstreamAuthMethod> {
  const { credential, bearer, settings } = attempt
  const offered = data.toString('latin1').split('\0').filter(Boolean)
  const mayScram =
    offered.some((mechanism) => SCRAM_MECHANISMS.includes(mechanism)) &&
    (settings.requireAuth?.includes('scram-sha-256') ?? true)
  const prefersScram = mayScram && (credential !== undefined || bearer === undefined)
  if (offered.includes(OAUTHBEARER) && !prefersScram) {
    await authenticateOAuth(attempt)
    return 'oauth'
  }
  await authenticateScram(attempt, offered)
  return 'scram-sha-256'
}

function password(attempt: LoginAttempt, method: 'password' | 'md5'): string {
  const credential = credentialFor(attempt, method)
  if (!('password' in credential)) {
    throw loginError(
      'no_credential',
      `the server asks ${role(attempt)} for authentication method ${method}, and there are only SCRAM keys for this role`,
    )
  }
  return credential.password
}

async function sendPassword(attempt: LoginAttempt, secret: string): Promise<void> {
  attempt.transport.socket.write(serialize.password(secret))
  await expectOk(attempt)
}

/** `md5` and MD5(MD5(password user) salt), both in hexadecimal digits (`md5_common.c`). */
function md5Response(secret: string, user: ByteString, salt: Buffer): string {
  const md5 = (...parts: readonly Uint8Array[]): string =>
    createHash('md5').update(Buffer.concat(parts)).digest('hex')
  const stored = md5(Buffer.from(secret), toBytes(user))
  return `md5${md5(Buffer.from(stored), salt)}`
}
