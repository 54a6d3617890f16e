/**
 * A JWT taken apart, strictly, before anything looks at a signature (RFC 7515 §3.1, RFC 8725 §3).
 *
 * Exactly one spelling of a token is accepted: three canonical base64url parts without padding,
 * UTF-8 without a byte order mark, no member twice. jose forgives all of these, and a token with two
 * spellings is two entries in a cache and two answers to one question.
 *
 * @module
 */
import {
  JsonError,
  type JsonLimits,
  type JsonObject,
  mayBeJsonObject,
  parseJsonObject,
} from '../json.ts'
import { Refusal } from '../refusal.ts'

/** Bounds on what a stranger may send, checked before any cryptography. */
export interface TokenLimits extends JsonLimits {
  /** Characters of the whole token. */
  readonly token: number
  /** Characters of the encoded header. */
  readonly header: number
  /** Characters of the encoded payload. */
  readonly payload: number
  /** Bytes of a key id. */
  readonly kid: number
}

/** The three parts, still encoded. */
export interface TokenParts {
  readonly header: string
  readonly payload: string
  readonly signature: string
  /** What the signature is about: header, dot and payload. */
  readonly signed: string
}

/**
 * Splits at the two dots in constant memory, however many dots there are (CVE-2025-30204).
 *
 * @throws {Refusal} `limit_exceeded` or `malformed`
 */
export function splitToken(token: string, limits: TokenLimits): TokenParts {
  if (token.length > limits.token) {
    throw new Refusal('limit_exceeded', 'The token is too long.')
  }
  const first = token.indexOf('.')
  const second = token.indexOf('.', first + 1)
  if (first < 1 || second < first + 2 || token.includes('.', second + 1)) {
    throw new Refusal('malformed', 'The token is not a JWT of three parts.')
  }
  if (first > limits.header || second - first - 1 > limits.payload) {
    throw new Refusal('limit_exceeded', 'A part of the token is too long.')
  }
  return {
    header: token.slice(0, first),
    payload: token.slice(first + 1, second),
    signature: token.slice(second + 1),
    signed: token.slice(0, second),
  }
}

/** How base64url spells a first byte `{`: six bits of it are an `e`, and the other two are the next character's first. */
const BEGINS_WITH_BRACE = /^e[w-z0-9_-]/

/**
 * Refuses what {@link decodeObject} would, where the first two characters show it: noise costs next to nothing.
 *
 * @param what - "header" or "payload", for the log
 * @throws {Refusal} `malformed`
 */
export function refuseNoise(part: string, what: string): void {
  if (!BEGINS_WITH_BRACE.test(part)) {
    throw new Refusal('malformed', `The token's ${what} is not a JSON object in UTF-8.`)
  }
}

/**
 * The JSON object in one part of a token.
 *
 * @param what - "header" or "payload", for the log
 * @throws {Refusal} `limit_exceeded` or `malformed`
 */
export function decodeObject(part: string, what: string, limits: TokenLimits): JsonObject {
  const bytes = decodeBase64url(part, what)
  if (!mayBeJsonObject(bytes)) {
    throw new Refusal('malformed', `The token's ${what} is not a JSON object in UTF-8.`)
  }
  try {
    return parseJsonObject(bytes, limits)
  } catch (error) {
    if (error instanceof JsonError) {
      throw new Refusal(error.kind, `The token's ${what} is refused: ${error.message}.`)
    }
    throw error
  }
}

/**
 * Bytes from their only base64url spelling: no padding, no blanks, no `+` or `/`, no stray bits in
 * the last character.
 *
 * @throws {Refusal} `malformed`
 */
export function decodeBase64url(part: string, what: string): Buffer {
  const bytes = Buffer.from(part, 'base64url')
  if (bytes.toString('base64url') !== part) {
    throw new Refusal('malformed', `The token's ${what} is not canonical base64url.`)
  }
  return bytes
}
