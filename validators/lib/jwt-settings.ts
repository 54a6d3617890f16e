/**
 * The `[validators.jwt]` table. Every default is the safe one; what makes it less safe has a name
 * that begins with `allow_` or `dangerously_`.
 *
 * @module
 */
import { z } from 'zod'
import { claimRule, claimSettings } from './claims/settings.ts'
import { canonicalType, isGenericType } from './claims/token-type.ts'
import { httpSettings } from './http/settings.ts'
import { ALGORITHMS } from './keys/algorithms.ts'
import { algorithms, keySettings } from './keys/settings.ts'
import { claimPath, duration, text } from './settings/values.ts'

const url = z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' })

const publicKey = z.strictObject({
  /** PEM file with a public key or a certificate. */
  file: text,
  alg: z.enum(ALGORITHMS),
  kid: text.optional(),
})

const tokenType = z
  .strictObject({
    /** Values of the header parameter `typ` (RFC 9068: `at+jwt`). */
    typ: z.array(text.transform(canonicalType)).default(['at+jwt']),
    /** What proves an access token where `typ` is `JWT` or absent. */
    marker: z.array(claimRule).default([]),
    allow_id_tokens: z.boolean().default(false),
  })
  .refine(({ typ, marker }) => typ.length > 0 || marker.length > 0, {
    error: 'typ and marker must not both be empty',
  })
  .refine(({ typ, marker }) => marker.length > 0 || !typ.some(isGenericType), {
    error:
      'typ = "JWT" or "JOSE" says nothing: put a rule that only access tokens meet into marker',
  })

const limits = z.strictObject({
  token: z.int().positive().max(65_535).default(16_384),
  header: z.int().positive().max(65_535).default(4_096),
  payload: z.int().positive().max(65_535).default(12_288),
  depth: z.int().positive().max(64).default(16),
  members: z.int().positive().max(65_535).default(512),
  items: z.int().positive().max(65_535).default(1_024),
  string: z.int().positive().max(65_535).default(4_096),
  kid: z.int().positive().max(1_024).default(256),
})

const tokenCache = z.strictObject({
  entries: z.int().nonnegative().max(1_000_000).default(10_000),
  bytes: z.int().nonnegative().default(33_554_432),
  ttl: duration.default(60_000).refine((ms) => ms <= 60_000, { error: 'must be at most 60s' }),
})

const KEY_SOURCES = ['discovery_url', 'jwks_uri', 'jwks', 'jwks_file', 'public_keys'] as const

export const jwtSettings = z
  .strictObject({
    /** Default: the issuer of each rule that names this validator. */
    issuer: url.optional(),
    /** What `iss` is where it is not the issuer of the rule (Microsoft Entra, tokens of version 1). */
    allow_other_token_issuer: text.optional(),
    /** `iss` may be left out (SPIFFE); one that is there is compared as ever. */
    allow_missing_issuer: z.boolean().default(false),
    /** Which well-known address an issuer's metadata is at. */
    discovery: z.enum(['oidc', 'rfc8414']).default('oidc'),
    discovery_url: url.optional(),
    jwks_uri: url.optional(),
    /** A JWK Set, written here. */
    jwks: z.record(z.string(), z.json()).optional(),
    jwks_file: text.optional(),
    public_keys: z.array(publicKey).min(1).optional(),
    /** Whom the token must have been issued for. */
    audiences: z.array(text).min(1),
    /** `client_id` for Amazon Cognito, whose access tokens have no audience. */
    audience_claim: z.enum(['aud', 'client_id']).default('aud'),
    audience_match: z.enum(['any', 'all', 'exact']).default('any'),
    algorithms,
    token_type: tokenType.prefault({}),
    /** `rfc9068`: also `sub`, `jti` and `client_id` are required. */
    profile: z.literal('rfc9068').optional(),
    required_claims: z.array(claimPath).default([]),
    ...claimSettings,
    /** Ignore `jku`, `jwk`, `x5u` and `x5c` in a header; they are never followed. */
    allow_untrusted_key_headers: z.boolean().default(false),
    allow_claim_collisions: z.boolean().default(false),
    limits: limits.prefault({}),
    token_cache: tokenCache.prefault({}),
    /** `required`: no start without the keys. */
    prefetch: z.enum(['off', 'background', 'required']).default('background'),
    keys: keySettings.prefault({}),
    http: httpSettings.prefault({}),
  })
  .refine((settings) => KEY_SOURCES.filter((name) => settings[name] !== undefined).length <= 1, {
    error: `only one of ${KEY_SOURCES.join(', ')} can be set`,
  })

export type JwtSettings = z.output<typeof jwtSettings>
