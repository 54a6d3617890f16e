/**
 * One sealed policy for each issuer: its keys, its audiences, its rules, its memory. Nothing of one
 * issuer is ever looked up for another.
 *
 * @module
 */
import type { ValidatorContext } from 'pgbearer/validator'
import type { AuthorizePolicy } from './claims/authorize.ts'
import type { ClaimPath } from './claims/claim-path.ts'
import type { AudiencePolicy } from './claims/registered.ts'
import { authorizePolicy, claimsInUse } from './claims/settings.ts'
import type { TokenTypePolicy } from './claims/token-type.ts'
import { ruleIssuer } from './issuer.ts'
import type { JwtSettings } from './jwt-settings.ts'
import { leaseIssuerKeys, prefetchKeys } from './keys/issuer-keys.ts'
import type { KeyRing } from './keys/key-ring.ts'
import type { KeyRingLease } from './keys/shared-key-rings.ts'
import { Fault } from './refusal.ts'
import { SettingsError } from './settings/parse-settings.ts'
import { guardedNames } from './token/claim-names.ts'
import { KnownHeaders } from './token/known-headers.ts'
import type { TokenLimits } from './token/parse-token.ts'
import { VerifiedTokens } from './token/verified-tokens.ts'

export interface IssuerPolicy {
  /** What `iss` has to be. */
  readonly issuer: string
  readonly issuerMayBeMissing: boolean
  readonly keys: KeyRing
  readonly verified: VerifiedTokens
  readonly limits: TokenLimits
  readonly headers: KnownHeaders
  readonly tokenType: TokenTypePolicy
  readonly requiredClaims: readonly ClaimPath[]
  readonly audience: AudiencePolicy
  /** Names that no other may resemble; undefined where that is allowed. */
  readonly guardedNames: ReadonlySet<string> | undefined
  readonly authorize: AuthorizePolicy
}

/** The policies of one module, made when they are first needed and ended together. */
export class IssuerPolicies implements AsyncDisposable {
  readonly #settings: JwtSettings
  readonly #context: ValidatorContext
  readonly #policies = new Map<string, Promise<IssuerPolicy>>()
  readonly #leases: KeyRingLease[] = []
  readonly #issuers = new Set<string>()

  private constructor(settings: JwtSettings, context: ValidatorContext) {
    this.#settings = settings
    this.#context = context
  }

  /**
   * Makes a policy for every issuer that is known already, and sees to their keys.
   *
   * @throws {SettingsError} where settings and rules contradict each other
   */
  static async create(settings: JwtSettings, context: ValidatorContext): Promise<IssuerPolicies> {
    const policies = new IssuerPolicies(settings, context)
    try {
      const issuers = new Set(context.issuers)
      if (settings.issuer !== undefined) {
        issuers.add(settings.issuer)
      }
      for (const issuer of issuers) {
        const policy = await policies.policyFor(issuer)
        // What is on this machine is looked at even then.
        const quiet = context.checkOnly === true && settings.jwks_file === undefined
        await prefetchKeys(policy.keys, quiet ? { ...settings, prefetch: 'off' } : settings)
      }
      return policies
    } catch (error) {
      await policies[Symbol.asyncDispose]()
      throw error
    }
  }

  /**
   * The policy for the issuer of a rule.
   *
   * @param written - the rule's `issuer`
   */
  policyFor(written: string): Promise<IssuerPolicy> {
    const known = this.#policies.get(written)
    if (known !== undefined) {
      return known
    }
    const made = this.#create(written)
    this.#policies.set(written, made)
    made.catch(() => this.#policies.delete(written))
    return made
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#leases.splice(0).map((lease) => lease[Symbol.asyncDispose]()))
  }

  async #create(written: string): Promise<IssuerPolicy> {
    const settings = this.#settings
    const rule = ruleIssuer(written)
    const { issuer } = rule
    if (settings.issuer !== undefined && settings.issuer !== issuer) {
      throw new Fault(
        'config_mismatch',
        `the rule's issuer is "${issuer}", the module's setting is "${settings.issuer}"`,
      )
    }
    this.#refuseSharedKeys(issuer)
    const lease = await leaseIssuerKeys(settings, rule, this.#context)
    this.#leases.push(lease)
    return { ...compile(settings, issuer), keys: lease.ring }
  }

  /** Keys that the settings name belong to one issuer, so there must be only one. */
  #refuseSharedKeys(issuer: string): void {
    const { discovery_url, jwks_uri, jwks, jwks_file, public_keys } = this.#settings
    const named = discovery_url ?? jwks_uri ?? jwks ?? jwks_file ?? public_keys
    this.#issuers.add(issuer)
    if (named !== undefined && this.#issuers.size > 1) {
      throw new SettingsError(
        'issuer: keys that are set here belong to one issuer, but the rules name several',
      )
    }
  }
}

function compile(settings: JwtSettings, issuer: string): Omit<IssuerPolicy, 'keys'> {
  const { token_cache: cache, token_type: type } = settings
  const rfc9068 = settings.profile === 'rfc9068' ? [['sub'], ['jti'], ['client_id']] : []
  const guarded = settings.allow_claim_collisions ? undefined : guardedNames(claimsInUse(settings))
  const header = {
    algorithms: new Set(settings.algorithms),
    allowUntrustedKeyHeaders: settings.allow_untrusted_key_headers,
    maxKid: settings.limits.kid,
  }
  return {
    issuer: settings.allow_other_token_issuer ?? issuer,
    issuerMayBeMissing: settings.allow_missing_issuer,
    verified: new VerifiedTokens({ entries: cache.entries, bytes: cache.bytes, ttlMs: cache.ttl }),
    limits: settings.limits,
    headers: new KnownHeaders(header, settings.limits, guarded),
    tokenType: {
      typ: new Set(type.typ),
      marker: type.marker,
      allowIdTokens: type.allow_id_tokens,
    },
    requiredClaims: [...rfc9068, ...settings.required_claims],
    audience: {
      audiences: new Set(settings.audiences),
      match: settings.audience_match,
      claim: settings.audience_claim,
    },
    guardedNames: guarded,
    authorize: authorizePolicy(settings, issuer, { claim: settings.audience_claim }),
  }
}
