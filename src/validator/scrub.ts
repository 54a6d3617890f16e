/**
 * Keeps tokens out of text that a module wrote. A module holds the token and may put it into an error,
 * a log line or a detail; whatever comes from a module passes through here before it is logged.
 *
 * @module
 */
import { printable } from '../log.ts'
import { describeThrown } from './describe-thrown.ts'

/** The longest text of a module that reaches the log, in UTF-16 units. */
export const MAX_MODULE_TEXT = 1024
/** A piece of a token from this length on is as secret as the whole. */
export const MIN_TOKEN_PIECE = 16

const MAX_TEXT_READ = 8192
const MAX_FIELD_TEXT = 512
const MAX_FIELDS = 64
const MAX_FIELD_DEPTH = 6

const REDACTED = '[token]'
// Any run of at least 15 characters covers one whole block of 8 that starts at a multiple of 8.
const BLOCK = 8
const LONG_RUN = /[A-Za-z0-9._~+/=-]{16,}/g
const LONGER_RUN = /[A-Za-z0-9._~+/=-]{24,}/g
// '{"' in base64url: the start of every JOSE header and claims set.
const JWT_PIECE = /eyJ[A-Za-z0-9_.-]{13,}/g
const HALF_A_PAIR = /\p{Cs}/gu

/** What must not be read in a text. */
export interface Secrets {
  readonly tokens: Iterable<string>
  /**
   * True once the tokens are forgotten: every run of 24 or more token characters goes then, because
   * a module may still have what the host has dropped.
   */
  readonly forgotten: boolean
}

/** Before there is a token: only what looks like a JWT is taken out. */
export const NO_SECRETS: Secrets = { tokens: [], forgotten: false }

/**
 * The text without tokens and without pieces of {@link MIN_TOKEN_PIECE} or more characters of one,
 * printable, and at most `limit` UTF-16 units long before escapes.
 *
 * @example
 * ```ts
 * scrubText('bad token abc.def', { tokens: ['abc.def'], forgotten: false }) // 'bad token [token]'
 * ```
 */
export function scrubText(text: string, secrets: Secrets, limit: number = MAX_MODULE_TEXT): string {
  let clean = text.slice(0, MAX_TEXT_READ)
  for (const token of secrets.tokens) {
    if (token === '') {
      continue
    }
    clean = clean.replaceAll(token, REDACTED).replaceAll(percentEncoded(token), REDACTED)
  }
  clean = clean.replace(LONG_RUN, (run) => (sharesPiece(run, secrets.tokens) ? REDACTED : run))
  clean = clean.replace(JWT_PIECE, REDACTED)
  if (secrets.forgotten) {
    clean = clean.replace(LONGER_RUN, REDACTED)
  }
  clean = clean.length > limit ? `${clean.slice(0, limit)}…` : clean
  return printable(clean).replace(HALF_A_PAIR, '\ufffd')
}

/** A copy of log fields of bounded size and depth, every key and every text scrubbed. */
export function scrubFields(fields: unknown, secrets: Secrets): unknown {
  return copyField(fields, { secrets, left: MAX_FIELDS }, 0)
}

/**
 * True where an identity has a token in it, or a piece of one that is long enough to be a secret. A name that stands
 * in the token in the clear, as a field between separators, is none: there are formats like that.
 */
export function containsToken(authnId: string, token: string): boolean {
  if (token.length < MIN_TOKEN_PIECE || isFieldOf(authnId, token)) {
    return false
  }
  return (authnId.match(LONG_RUN) ?? []).some((run) => sharesPiece(run, [token]))
}

// At most half: what is left is what makes the token one. A JWT has nothing in the clear.
function isFieldOf(text: string, token: string): boolean {
  if (text.length < MIN_TOKEN_PIECE) {
    // Too short to be a piece; and an empty text is found everywhere, for ever.
    return false
  }
  if (text.length > token.length / 2 || token.search(JWT_PIECE) >= 0) {
    return false
  }
  for (let at = token.indexOf(text); at >= 0; at = token.indexOf(text, at + 1)) {
    if (isSeparator(token[at - 1]) && isSeparator(token[at + text.length])) {
      return true
    }
  }
  return false
}

function isSeparator(character: string | undefined): boolean {
  return character === undefined || '._~-'.includes(character)
}

function percentEncoded(token: string): string {
  return token.replace(
    /[+/=]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function sharesPiece(run: string, tokens: Iterable<string>): boolean {
  for (const token of tokens) {
    if (token.length >= MIN_TOKEN_PIECE && sharesBlock(run, token)) {
      return true
    }
  }
  return false
}

function sharesBlock(run: string, token: string): boolean {
  for (let at = 0; at + BLOCK <= run.length; at += BLOCK) {
    if (token.includes(run.slice(at, at + BLOCK))) {
      return true
    }
  }
  return false
}

interface Copying {
  readonly secrets: Secrets
  left: number
}

function copyField(value: unknown, copying: Copying, depth: number): unknown {
  copying.left -= 1
  if (copying.left < 0 || depth > MAX_FIELD_DEPTH) {
    return '…'
  }
  switch (typeof value) {
    case 'string':
      return scrubText(value, copying.secrets, MAX_FIELD_TEXT)
    case 'number':
    case 'boolean':
    case 'undefined':
      return value
    case 'bigint':
      return scrubText(value.toString(), copying.secrets, MAX_FIELD_TEXT)
    case 'object':
      return value === null ? null : copyObject(value, copying, depth)
    case 'function':
    case 'symbol':
      return `[${typeof value}]`
  }
}

function copyObject(value: object, copying: Copying, depth: number): unknown {
  try {
    // The bytes of a token are a token.
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
      return `[${value.byteLength} bytes]`
    }
    if (value instanceof Error) {
      return scrubText(describeThrown(value), copying.secrets, MAX_FIELD_TEXT)
    }
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      return copyField(value.toJSON(), copying, depth + 1)
    }
    return Array.isArray(value)
      ? value.slice(0, MAX_FIELDS).map((item) => copyField(item, copying, depth + 1))
      : copyMembers(value, copying, depth)
  } catch {
    return '[unreadable]'
  }
}

function copyMembers(value: object, copying: Copying, depth: number): unknown {
  const copy: Record<string, unknown> = Object.create(null)
  for (const key of Object.keys(value).slice(0, MAX_FIELDS)) {
    if (copying.left <= 0) {
      break
    }
    const name = scrubText(key, copying.secrets, MAX_FIELD_TEXT)
    copy[name] = copyField((value as Record<string, unknown>)[key], copying, depth + 1)
  }
  return copy
}
