/**
 * The client's first OAUTHBEARER message (RFC 7628 §3.1), as `auth-oauth.c` reads it: byte for byte,
 * in its order of checks and with its texts.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import { ProtocolViolationError, UnsupportedFeatureError } from '../errors.ts'

const KVSEP = 0x01
const COMMA = 0x2c
const EQUALS = 0x3d
const LETTER_A = 0x61
const LETTER_N = 0x6e
const LETTER_P = 0x70
const LETTER_Y = 0x79

/*
 * RFC 7628 §3.1, with gs2-header from RFC 5801 §4:
 *
 *   kvsep       = %x01
 *   key         = 1*(ALPHA)
 *   value       = *(VCHAR / SP / HTAB / CR / LF )
 *   kvpair      = key "=" value kvsep
 *   client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep
 *
 * PostgreSQL does not take the second form as a first message, nor an authorization identity.
 */

/**
 * The value of the `auth` key.
 *
 * @param data - the message, not empty and without a NUL (the mechanism checks both before its state).
 * @throws ProtocolViolationError with PostgreSQL's detail; UnsupportedFeatureError for an authzid.
 */
export function parseClientInitialResponse(data: Buffer): string {
  const flag = data[0]
  if (flag === LETTER_P) {
    throw malformed(
      'The server does not support channel binding for OAuth, but the client message includes channel binding data.',
    )
  }
  if (flag !== LETTER_N && flag !== LETTER_Y) {
    throw malformed(`Unexpected channel-binding flag "${sanitizeByte(flag)}".`)
  }
  if (data[1] !== COMMA) {
    throw malformed(`Comma expected, but found character "${sanitizeByte(data[1])}".`)
  }
  if (data[2] === LETTER_A) {
    throw new UnsupportedFeatureError('client uses authorization identity, but it is not supported')
  }
  if (data[2] !== COMMA) {
    throw malformed(`Unexpected attribute "${sanitizeByte(data[2])}" in client-first-message.`)
  }
  if (data[3] !== KVSEP) {
    throw malformed(`Key-value separator expected, but found character "${sanitizeByte(data[3])}".`)
  }
  return parseKeyValuePairs(data, 4)
}

function parseKeyValuePairs(data: Buffer, start: number): string {
  let auth: string | undefined
  let at = start
  while (at < data.length) {
    const end = data.indexOf(KVSEP, at)
    if (end < 0) {
      throw malformed('Message contains an unterminated key/value pair.')
    }
    if (end === at) {
      return finish(auth, end + 1 === data.length)
    }
    const equals = data.indexOf(EQUALS, at)
    if (equals < 0 || equals > end) {
      throw malformed('Message contains a key without a value.')
    }
    const key = data.toString('latin1', at, equals)
    const value = data.toString('latin1', equals + 1, end)
    checkKeyValuePair(key, value)
    if (key === 'auth') {
      if (auth !== undefined) {
        throw malformed('Message contains multiple auth values.')
      }
      auth = value
    }
    at = end + 1
  }
  throw malformed('Message did not contain a final terminator.')
}

function checkKeyValuePair(key: string, value: string): void {
  if (key === '') {
    throw malformed('Message contains an empty key name.')
  }
  if (!/^[A-Za-z]+$/.test(key)) {
    throw malformed('Message contains an invalid key name.')
  }
  if (!/^[\x21-\x7e \t\r\n]*$/.test(value)) {
    throw malformed('Message contains an invalid value.')
  }
}

function finish(auth: string | undefined, atEnd: boolean): string {
  if (auth === undefined) {
    throw malformed('Message does not contain an auth value.')
  }
  if (!atEnd) {
    throw malformed('Message contains additional data after the final terminator.')
  }
  return auth
}

/** PostgreSQL's sentence for every violation of the grammar. */
export function malformed(detail: string): ProtocolViolationError {
  return new ProtocolViolationError('malformed OAUTHBEARER message', { detail })
}

/** `sanitize_char()` in `auth-oauth.c`; the end of the message reads as a NUL there. */
function sanitizeByte(byte = 0): string {
  return byte >= 0x21 && byte <= 0x7e
    ? `'${String.fromCharCode(byte)}'`
    : `0x${byte.toString(16).padStart(2, '0')}`
}
