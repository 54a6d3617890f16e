/**
 * libpq's `require_auth`: which ways of logging in the user accepts.
 *
 * @module
 */
import { TokenConfigError } from '../errors.ts'

const METHODS = ['password', 'md5', 'gss', 'sspi', 'scram-sha-256', 'oauth', 'none'] as const

/** A word of `require_auth`. `none`: the server asks for nothing. */
export type AuthMethod = (typeof METHODS)[number]

/** Says whether a way of logging in is accepted. */
export type RequireAuth = (method: AuthMethod) => boolean

/**
 * Parses a list such as `oauth,none` or `!password,!md5`.
 *
 * @throws TokenConfigError in libpq's words.
 */
export function parseRequireAuth(text: string): RequireAuth {
  const words = text.split(',').map((word) => word.trim())
  const negative = words[0]?.startsWith('!') ?? false
  const named = new Set<string>()
  for (const word of words) {
    const method = word.startsWith('!') ? word.slice(1) : word
    if (!(METHODS as readonly string[]).includes(method)) {
      throw new TokenConfigError(`invalid require_auth value: "${method}"`)
    }
    if (word.startsWith('!') !== negative) {
      throw new TokenConfigError(
        negative
          ? `require_auth method "${word}" cannot be mixed with negative methods`
          : `negative require_auth method "${word}" cannot be mixed with non-negative methods`,
      )
    }
    if (named.has(method)) {
      throw new TokenConfigError(`require_auth method "${word}" is specified more than once`)
    }
    named.add(method)
  }
  return (method) => named.has(method) !== negative
}
