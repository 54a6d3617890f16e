/**
 * The JSON a server refuses a token with (RFC 7628 §3.2.2), under libpq's limits
 * (`fe-auth-oauth.c`: `handle_oauth_sasl_error`).
 *
 * @module
 */
import { OAuthProtocolError, type RejectionChallenge } from '../errors.ts'

// MAX_SASL_NESTING_LEVEL in fe-auth-oauth.c.
const MAX_NESTING = 8

const KNOWN_FIELDS = ['status', 'scope', 'openid-configuration'] as const

/**
 * Reads the challenge.
 *
 * @throws OAuthProtocolError in libpq's words.
 */
export function parseErrorChallenge(data: Uint8Array): RejectionChallenge {
  if (data.includes(0)) {
    throw new OAuthProtocolError(
      "server's error message contained an embedded NULL, and was discarded",
    )
  }
  const text = utf8Text(data)
  const value = jsonValue(text)
  const shape = scanJson(text)
  if (shape.depth > MAX_NESTING) {
    throw unparsable('JSON is too deeply nested')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unparsable('top-level element must be an object')
  }
  const fields = value as Record<string, unknown>
  for (const name of KNOWN_FIELDS) {
    if (shape.keys.filter((key) => key === name).length > 1) {
      throw unparsable(`field "${name}" is duplicated`)
    }
    if (Object.hasOwn(fields, name) && typeof fields[name] !== 'string') {
      throw unparsable(`field "${name}" must be a string`)
    }
  }
  const field = (name: (typeof KNOWN_FIELDS)[number]): string | undefined =>
    Object.hasOwn(fields, name) ? (fields[name] as string) : undefined
  const status = field('status')
  if (status === undefined) {
    throw new OAuthProtocolError('server sent error response without a status')
  }
  return { status, scope: field('scope'), discoveryUrl: field('openid-configuration') }
}

function unparsable(why: string): OAuthProtocolError {
  return new OAuthProtocolError(`failed to parse server's error response: ${why}`)
}

function utf8Text(data: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data)
  } catch {
    throw new OAuthProtocolError("server's error response is not valid UTF-8")
  }
}

function jsonValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw unparsable('it is not JSON')
  }
}

/**
 * How deep a JSON text goes and which keys its outermost object has, duplicates included. The text must
 * be valid JSON: `JSON.parse` forgets both.
 */
export function scanJson(text: string): {
  readonly depth: number
  readonly keys: readonly string[]
} {
  const keys: string[] = []
  let level = 0
  let depth = 0
  for (const [token, string, colon] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*(:)?|[[\]{}]/g)) {
    if (token === '{' || token === '[') {
      level += 1
      depth = Math.max(depth, level)
    } else if (token === '}' || token === ']') {
      level -= 1
    } else if (level === 1 && colon !== undefined && string !== undefined) {
      keys.push(JSON.parse(string) as string)
    }
  }
  return { depth, keys }
}
