/**
 * Who the token belongs to: the text that the user map compares byte for byte. Nothing is folded,
 * trimmed or normalised here, because two people could become one; what is not in its only form is
 * refused.
 *
 * @module
 */
import { type JsonObject, type JsonValue, member } from '../json.ts'
import { Refusal } from '../refusal.ts'
import { type ClaimPath, claimAt } from './claim-path.ts'

export interface IdentityClaim {
  readonly path: ClaimPath
  readonly prefix: string
  /** An address that anybody can type in somewhere: `email_verified` must be `true`. */
  readonly isEmail: boolean
}

export interface IdentityPolicy {
  /** The first that the token has is taken. */
  readonly claims: readonly IdentityClaim[]
  readonly format:
    | { readonly kind: 'direct' }
    | { readonly kind: 'issuer_qualified'; readonly issuer: string }
    | { readonly kind: 'template'; readonly parts: readonly TemplatePart[] }
  readonly allowUnverifiedEmail: boolean
  /** Of the finished identity, in UTF-8. */
  readonly maxBytes: number
  readonly charset: 'printable_ascii' | 'nfc_unicode'
}

/** Text that stands as it is, or a claim whose value is put there. */
export type TemplatePart = { readonly text: string } | { readonly claim: string }

/** @throws {Refusal} `identity_invalid` or `email_unverified` */
export function identityOf(claims: JsonObject, policy: IdentityPolicy): string {
  const identity = compose(claims, policy)
  if (Buffer.byteLength(identity) > policy.maxBytes) {
    throw new Refusal('identity_invalid', 'The identity is too long.')
  }
  return identity
}

function compose(claims: JsonObject, policy: IdentityPolicy): string {
  const { format } = policy
  if (format.kind === 'template') {
    return fillTemplate(claims, format.parts, policy)
  }
  const claim = policy.claims.find(({ path }) => claimAt(claims, path) !== undefined)
  if (claim === undefined) {
    throw new Refusal('identity_invalid', 'The token has no claim that names its owner.')
  }
  const value = checkText(claimAt(claims, claim.path), policy)
  if (claim.isEmail) {
    checkEmail(value, claims, policy)
  }
  const name = `${claim.prefix}${value}`
  return format.kind === 'direct' ? name : `v1.${encode(format.issuer)}.${encode(name)}`
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64url')
}

/** What separates the parts is escaped inside them, so `a:b` + `c` is not `a` + `b:c`. */
function fillTemplate(
  claims: JsonObject,
  parts: readonly TemplatePart[],
  policy: IdentityPolicy,
): string {
  const separators = new Set([
    '%',
    ...parts.flatMap((part) => ('text' in part ? Array.from(part.text) : [])),
  ])
  const escape = (value: string): string =>
    Array.from(value, (char) => (separators.has(char) ? percentEncode(char) : char)).join('')
  return parts
    .map((part) => ('text' in part ? part.text : escape(claimText(claims, part.claim, policy))))
    .join('')
}

function claimText(claims: JsonObject, name: string, policy: IdentityPolicy): string {
  const value = checkText(member(claims, name), policy)
  if (name === 'email') {
    checkEmail(value, claims, policy)
  }
  return value
}

function percentEncode(char: string): string {
  return Buffer.from(char).toString('hex').replaceAll(/../g, '%$&')
}

const PRINTABLE_ASCII = /^[\x20-\x7e]+$/
// Controls, format characters (zero width, bidirectional), surrogates, private use, unassigned, and
// line and paragraph separators.
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/u

function checkText(value: JsonValue | undefined, policy: IdentityPolicy): string {
  if (typeof value !== 'string' || value === '') {
    throw new Refusal('identity_invalid', 'The claim that names the owner is not a text.')
  }
  const isAscii = PRINTABLE_ASCII.test(value)
  if (!isAscii && (policy.charset === 'printable_ascii' || INVISIBLE.test(value))) {
    throw new Refusal('identity_invalid', 'The identity has a character that is not allowed.')
  }
  if (!isAscii && value.normalize('NFC') !== value) {
    throw new Refusal('identity_invalid', 'The identity is not in Unicode normal form C.')
  }
  if (value.trim() !== value) {
    throw new Refusal('identity_invalid', 'The identity begins or ends with a blank.')
  }
  return value
}

/** One "@", and a domain in the one spelling that a map can name. */
const EMAIL = /^[^@ ]+@[^@ A-Z]+$/

function checkEmail(value: string, claims: JsonObject, policy: IdentityPolicy): void {
  if (!EMAIL.test(value)) {
    throw new Refusal('identity_invalid', 'The e-mail address is not one plain address.')
  }
  if (member(claims, 'email_verified') !== true && !policy.allowUnverifiedEmail) {
    throw new Refusal('email_unverified', 'The provider did not verify the e-mail address.')
  }
}
