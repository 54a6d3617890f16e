/**
 * The issuer of a rule. PostgreSQL lets a rule name either the issuer or its discovery document; the
 * token names the issuer.
 *
 * @module
 */

export interface RuleIssuer {
  /** What `iss` must be. */
  readonly issuer: string
  /** The discovery document, where the rule names that. */
  readonly discoveryUrl: string | undefined
}

const WELL_KNOWN =
  /^(https?:\/\/[^/]+)(.*?)\/\.well-known\/(openid-configuration|oauth-authorization-server)(\/.*)?$/

/**
 * As libpq's `issuer_from_well_known_uri()`: `/.well-known/openid-configuration` stands at the end, or
 * after the host with the path behind it (RFC 8414 §3.1).
 */
export function ruleIssuer(written: string): RuleIssuer {
  const [, origin, before, kind, after = ''] = WELL_KNOWN.exec(written) ?? []
  if (origin === undefined || before === undefined) {
    return { issuer: written, discoveryUrl: undefined }
  }
  const appended = kind === 'openid-configuration' && after === ''
  const inserted = before === ''
  return appended || inserted
    ? { issuer: `${origin}${before}${after}`, discoveryUrl: written }
    : { issuer: written, discoveryUrl: undefined }
}
