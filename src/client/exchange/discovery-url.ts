/**
 * Which issuer a discovery URL stands for, by libpq's rules (`fe-auth-oauth.c`: `issuer_from_well_known_uri`).
 *
 * @module
 */
import { OAuthProtocolError, type RejectionChallenge, TokenConfigError } from '../errors.ts'

/** Where a user's issuer and a server's announcement are taken from. */
export interface IssuerRules {
  /** Also `http:`; for tests on this machine. Everything else is still checked. */
  readonly allowInsecureIssuer?: boolean | undefined
}

const WELL_KNOWN = '/.well-known/'
const SUFFIX = /^(?:openid-configuration|oauth-authorization-server)(?=\/|$)/

/**
 * The issuer of a well-known URI: what is left when `/.well-known/<suffix>` is cut out.
 *
 * @throws OAuthProtocolError in libpq's words.
 */
export function issuerOfDiscoveryUrl(url: string, rules: IssuerRules = {}): string {
  const fault = (text: string): OAuthProtocolError =>
    new OAuthProtocolError(`OAuth discovery URI ${JSON.stringify(url)} ${text}`)
  const scheme = rules.allowInsecureIssuer === true ? /^https?:\/\//i : /^https:\/\//i
  if (!scheme.test(url)) {
    throw fault('must use HTTPS')
  }
  if (/[?#]/.test(url)) {
    throw fault('must not contain query or fragment components')
  }
  const start = url.indexOf(WELL_KNOWN)
  if (start < 0) {
    throw fault('is not a .well-known URI')
  }
  const rest = url.slice(start + WELL_KNOWN.length)
  const suffix = SUFFIX.exec(rest)?.[0]
  if (suffix === undefined) {
    throw fault('uses an unsupported .well-known suffix')
  }
  const after = rest.slice(suffix.length)
  // RFC 8414 puts the suffix between host and path; OpenID Connect puts it at the end.
  const pathStart = url.indexOf('/', url.indexOf('//') + 2)
  if (after !== '' && start !== pathStart) {
    throw fault('uses an invalid format')
  }
  return url.slice(0, start) + after
}

/**
 * The issuer that a user means by `issuer`: the identifier itself, or a well-known URI of it.
 *
 * @throws TokenConfigError if it is neither.
 */
export function configuredIssuer(issuer: string, rules: IssuerRules = {}): string {
  const fault = (why: string): TokenConfigError => new TokenConfigError(`issuer ${why}`)
  if (!URL.canParse(issuer)) {
    throw fault('must be a URL')
  }
  const { protocol } = new URL(issuer)
  if (protocol !== 'https:' && !(rules.allowInsecureIssuer === true && protocol === 'http:')) {
    throw fault('must be an https URL')
  }
  if (/[?#]/.test(issuer)) {
    throw fault('must not contain query or fragment components')
  }
  if (/\/\/[^/]*@/.test(issuer)) {
    throw fault('must not contain a user name or a password')
  }
  return issuer.includes(WELL_KNOWN) ? issuerOfDiscoveryUrl(issuer, rules) : issuer
}

/** What a server's announcement comes to once it has been checked. */
export interface Announcement {
  readonly discoveryUrl: string
  readonly issuer: string
  readonly scope: string | undefined
}

/**
 * Checks what a server announced against what the user trusts and what it announced before. Byte by
 * byte: a trailing slash or another case makes another issuer.
 *
 * @throws OAuthProtocolError; the token callback must not be asked then.
 */
export function checkAnnouncement(
  challenge: RejectionChallenge,
  issuer: string,
  rules: IssuerRules & { readonly previousUrl?: string | undefined } = {},
): Announcement {
  const { discoveryUrl, scope, status } = challenge
  if (status !== 'invalid_token') {
    throw new OAuthProtocolError(`server rejected OAuth bearer token: ${JSON.stringify(status)}`)
  }
  if (discoveryUrl === undefined) {
    throw new OAuthProtocolError(
      'server requires OAuth authentication, but no discovery metadata was provided',
    )
  }
  const quoted = JSON.stringify(discoveryUrl)
  if (rules.previousUrl !== undefined && rules.previousUrl !== discoveryUrl) {
    throw new OAuthProtocolError(
      `server's discovery document has moved to ${quoted} (previous location was ${JSON.stringify(rules.previousUrl)})`,
    )
  }
  const announced = issuerOfDiscoveryUrl(discoveryUrl, rules)
  if (announced !== configuredIssuer(issuer, rules)) {
    throw new OAuthProtocolError(
      `server's discovery document at ${quoted} (issuer ${JSON.stringify(announced)}) is incompatible with the configured issuer (${JSON.stringify(issuer)})`,
    )
  }
  return { discoveryUrl, issuer: announced, scope }
}
