/**
 * Words of one line: blanks, commas, quotes and comments (`hba.c: next_token()`, PostgreSQL 19).
 *
 * @module
 */
import type { ByteString } from '../byte-string.ts'
import type { AuthToken } from './auth-token.ts'

/** A token, whether a comma directly follows it, and where reading goes on. */
export interface ScannedToken {
  readonly token: AuthToken
  /** The field goes on with another token. */
  readonly comma: boolean
  readonly next: number
}

const SPACE = 0x20
const TAB = 0x09
const COMMA = 0x2c
const QUOTE = 0x22
const HASH = 0x23

// Differs between 18 and 19: in 19 a carriage return inside a line is an ordinary character.
function isBlank(code: number): boolean {
  return code === SPACE || code === TAB
}

/**
 * Reads the next token of a line at `start`; undefined at its end or at a comment.
 *
 * A missing closing quote runs to the end of the line, as in PostgreSQL.
 */
export function scanToken(line: ByteString, start: number): ScannedToken | undefined {
  let at = start
  while (at < line.length && (isBlank(line.charCodeAt(at)) || line.charCodeAt(at) === COMMA)) {
    at++
  }
  const parts: string[] = []
  let length = 0
  let runStart = at
  let inQuote = false
  let wasQuote = false
  let sawQuote = false
  let quoted = false
  let comma = false
  const endRun = (end: number): void => {
    if (end > runStart) {
      parts.push(line.slice(runStart, end))
      length += end - runStart
    }
  }
  for (; at < line.length; at++) {
    const code = line.charCodeAt(at)
    if (code === QUOTE) {
      endRun(at)
      // The second of two quotes inside quotes stands for itself.
      runStart = wasQuote ? at : at + 1
      wasQuote = inQuote && !wasQuote
      if (length === 0 && runStart > at) {
        quoted = true
      }
      inQuote = !inQuote
      sawQuote = true
      continue
    }
    if (!inQuote && (isBlank(code) || code === HASH || code === COMMA)) {
      comma = code === COMMA
      break
    }
    wasQuote = false
  }
  endRun(at)
  if (!sawQuote && length === 0) {
    return undefined
  }
  const next = line.charCodeAt(at) === HASH && !inQuote ? line.length : at
  return { token: { value: parts.join('') as ByteString, quoted }, comma, next }
}
