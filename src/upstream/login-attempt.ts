/** What the answers to every authentication method have in common. @module */
import type { Buffer } from 'node:buffer'
import { type ByteString, toText } from '../byte-string.ts'
import type { BearerCredential, UpstreamCredential } from './credential.ts'
import { loginError } from './errors.ts'
import { type LoginReader, type RawMessage, unexpectedMessage } from './login-reader.ts'
import type { UpstreamAuthMethod, UpstreamSettings } from './settings.ts'
import type { Transport } from './transport.ts'

/** Who logs in, with what, and over which connection. */
export interface LoginAttempt {
  readonly settings: UpstreamSettings
  readonly transport: Transport
  readonly reader: LoginReader
  readonly user: ByteString
  readonly credential: UpstreamCredential | undefined
  readonly bearer?: BearerCredential | undefined
  readonly signal: AbortSignal
}

/** AuthRequest codes of `protocol.h`. */
export const AUTH = {
  ok: 0,
  password: 3,
  md5: 5,
  sasl: 10,
  saslContinue: 11,
  saslFinal: 12,
} as const

/** An Authentication message taken apart. */
export function parseAuthentication(message: RawMessage): {
  readonly code: number
  readonly data: Buffer
} {
  if (message.type !== 'R' || message.body.length < 4) {
    throw unexpectedMessage(message, 'an authentication request')
  }
  return { code: message.body.readInt32BE(0), data: message.body.subarray(4) }
}

/** Reads AuthenticationOk. */
export async function expectOk({ reader }: LoginAttempt): Promise<void> {
  const message = await reader.next()
  if (parseAuthentication(message).code !== AUTH.ok) {
    throw loginError('protocol_violation', 'the server asks for a second authentication')
  }
}

/** Throws unless this method may be answered, on this connection. */
export function checkMethod(attempt: LoginAttempt, method: UpstreamAuthMethod): void {
  const { requireAuth, channelBinding } = attempt.settings
  if (requireAuth !== undefined && !requireAuth.includes(method)) {
    throw loginError(
      'method_not_allowed',
      `the server asks ${role(attempt)} for authentication method ${method}, which require_auth does not list`,
    )
  }
  if (channelBinding === 'require' && method !== 'scram-sha-256') {
    throw loginError(
      'channel_binding',
      `channel binding is required, but the server asks ${role(attempt)} for authentication method ${method}`,
    )
  }
  const isReadable = method === 'password' || method === 'md5'
  if (isReadable && requireAuth === undefined && !attempt.transport.isPrivate) {
    throw loginError(
      'method_not_allowed',
      `the server asks ${role(attempt)} for authentication method ${method} without TLS; use TLS, or name the method in require_auth`,
    )
  }
}

/** Throws where there is nothing to answer with. */
export function credentialFor(attempt: LoginAttempt, method: string): UpstreamCredential {
  if (attempt.credential === undefined) {
    throw loginError(
      'no_credential',
      `the server asks ${role(attempt)} for authentication method ${method}, and there is no credential for this role`,
    )
  }
  return attempt.credential
}

/** For log texts: `role "alice"`. */
export function role({ user }: LoginAttempt): string {
  return `role "${toText(user)}"`
}
