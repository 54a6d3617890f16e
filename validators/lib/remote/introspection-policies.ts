/**
 * One policy for each issuer whose endpoint is asked.
 *
 * @module
 */
import { setMaxListeners } from 'node:events'
import type { ValidatorContext } from 'pgbearer/validator'
import { IssuerMetadata } from '../http/issuer-metadata.ts'
import { hostAndPort, type HttpPolicy } from '../http/policy.ts'
import { createHttpPolicy } from '../http/settings.ts'
import type { IntrospectionSettings } from '../introspection-settings.ts'
import { type RuleIssuer, ruleIssuer } from '../issuer.ts'
import { configuredUrl, discoverySettings, leaseIssuerKeys } from '../keys/issuer-keys.ts'
import type { KeyRingLease } from '../keys/shared-key-rings.ts'
import { Fault } from '../refusal.ts'
import { createCredentials, type Credentials } from './client-authentication.ts'
import { Gate } from './gate.ts'
import { IntrospectionEndpoint } from './introspection-endpoint.ts'
import { IntrospectionPolicy } from './introspection-policy.ts'
import { gateOptions } from './settings.ts'
import { IN_CLUSTER_ENDPOINT, TokenReview } from './token-review.ts'

export class IntrospectionPolicies implements AsyncDisposable {
  readonly #settings: IntrospectionSettings
  readonly #context: ValidatorContext
  readonly #policies = new Map<string, Promise<IntrospectionPolicy>>()
  readonly #closing = new AbortController()
  readonly #leases: KeyRingLease[] = []

  private constructor(settings: IntrospectionSettings, context: ValidatorContext) {
    this.#settings = settings
    this.#context = context
    // Every login that waits for the endpoint listens.
    setMaxListeners(0, this.#closing.signal)
  }

  static async create(
    settings: IntrospectionSettings,
    context: ValidatorContext,
  ): Promise<IntrospectionPolicies> {
    const policies = new IntrospectionPolicies(settings, context)
    const own = settings.issuer === undefined ? [] : [settings.issuer]
    for (const issuer of new Set([...context.issuers, ...own])) {
      await policies.policyFor(issuer)
    }
    return policies
  }

  /** @param written - the rule's `issuer` */
  policyFor(written: string): Promise<IntrospectionPolicy> {
    const known = this.#policies.get(written)
    if (known !== undefined) {
      return known
    }
    const made = this.#create(ruleIssuer(written))
    this.#policies.set(written, made)
    made.catch(() => this.#policies.delete(written))
    return made
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Fault('provider_unavailable', 'the validator is shutting down'))
    await Promise.all(this.#leases.splice(0).map((lease) => lease[Symbol.asyncDispose]()))
  }

  async #create(rule: RuleIssuer): Promise<IntrospectionPolicy> {
    const settings = this.#settings
    const { baseDirectory } = this.#context
    if (settings.issuer !== undefined && settings.issuer !== rule.issuer) {
      throw new Fault(
        'config_mismatch',
        `the rule's issuer is "${rule.issuer}", the module's setting is "${settings.issuer}"`,
      )
    }
    const credentials = await createCredentials(settings.client_auth, rule.issuer, baseDirectory)
    const gate = new Gate(gateOptions(settings))
    const inquiry =
      settings.mode === 'tokenreview'
        ? await this.#tokenReview(gate, credentials)
        : await this.#endpoint(rule, gate, credentials)
    const { issuer } = rule
    return new IntrospectionPolicy({
      settings,
      issuer,
      inquiry,
      gate,
      signal: this.#closing.signal,
    })
  }

  async #endpoint(
    rule: RuleIssuer,
    gate: Gate,
    credentials: () => Promise<Credentials>,
  ): Promise<IntrospectionEndpoint> {
    const settings = this.#settings
    const { url, http } = await discoverySettings(settings, rule, this.#context.baseDirectory)
    const lease = settings.signed === 'off' ? undefined : await this.#leaseKeys(rule)
    return new IntrospectionEndpoint({
      settings,
      issuer: rule.issuer,
      connection: { http: withEndpoints(http, settings), gate },
      metadata: new IssuerMetadata(rule.issuer, url, http),
      keys: lease?.ring,
      credentials,
    })
  }

  async #tokenReview(gate: Gate, credentials: () => Promise<Credentials>): Promise<TokenReview> {
    const settings = this.#settings
    const url = configuredUrl(settings.endpoint ?? IN_CLUSTER_ENDPOINT, 'endpoint', settings)
    const { baseDirectory } = this.#context
    const http = await createHttpPolicy(settings.http, [hostAndPort(url)], baseDirectory)
    return new TokenReview({
      url,
      audiences: settings.audiences ?? [],
      match: settings.audience_match,
      connection: { http, gate },
      credentials,
    })
  }

  async #leaseKeys(rule: RuleIssuer): Promise<KeyRingLease> {
    const lease = await leaseIssuerKeys(
      { ...this.#settings, prefetch: 'background' },
      rule,
      this.#context,
    )
    this.#leases.push(lease)
    return lease
  }
}

/** What the settings name themselves is allowed. */
function withEndpoints(http: HttpPolicy, settings: IntrospectionSettings): HttpPolicy {
  const { endpoint, userinfo } = settings
  const named = [
    ...(endpoint === undefined ? [] : [configuredUrl(endpoint, 'endpoint', settings)]),
    ...(URL.canParse(userinfo) ? [configuredUrl(userinfo, 'userinfo', settings)] : []),
  ]
  return { ...http, allowedHosts: new Set([...http.allowedHosts, ...named.map(hostAndPort)]) }
}
