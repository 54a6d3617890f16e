/**
 * The settings about what a token says, shared by every validator that gets claims from somewhere.
 *
 * @module
 */
import { z } from 'zod'
import { claimPath, duration, text } from '../settings/values.ts'
import type { AuthorizePolicy } from './authorize.ts'
import type { ClaimPath } from './claim-path.ts'
import type { ClaimRule } from './claim-rules.ts'
import type { AuthorizationPolicy } from './role-authorization.ts'
import { SpentTokens } from './spent-tokens.ts'
import type { IdentityPolicy, TemplatePart } from './identity.ts'

const scalar = z.union([z.string(), z.number(), z.boolean()])
const ruleBase = { path: claimPath, message: text.optional() }

/** `{ path = "/tid", op = "eq", value = "…" }` */
export const claimRule: z.ZodType<ClaimRule, unknown> = z.discriminatedUnion('op', [
  z.strictObject({ ...ruleBase, op: z.literal(['exists', 'absent']) }),
  z.strictObject({ ...ruleBase, op: z.literal('eq'), value: scalar }),
  z.strictObject({ ...ruleBase, op: z.literal('in'), value: z.array(scalar).min(1) }),
  z.strictObject({ ...ruleBase, op: z.literal(['contains', 'prefix', 'glob']), value: text }),
  z.strictObject({ ...ruleBase, op: z.literal('lte'), value: z.number() }),
])

const identityClaim = z
  .union([claimPath, z.strictObject({ path: claimPath, prefix: z.string().default('') })])
  .transform((value) => ('path' in value ? value : { path: value, prefix: '' }))

const identity = z
  .strictObject({
    /** The first that the token has is taken. */
    claims: z
      .array(identityClaim)
      .min(1)
      .default([{ path: ['sub'], prefix: '' }]),
    format: z.enum(['direct', 'issuer_qualified', 'template']).default('direct'),
    /** For `template`: claims in braces, such as `{tid}:{oid}`. */
    template: text.optional(),
    max_bytes: z.int().min(1).max(1024).default(255),
    charset: z.enum(['printable_ascii', 'nfc_unicode']).default('printable_ascii'),
    allow_unverified_email: z.boolean().default(false),
  })
  .refine((identity) => (identity.format === 'template') === (identity.template !== undefined), {
    error: 'format = "template" and template belong together',
  })
  .refine(({ template }) => template === undefined || parseTemplate(template) !== undefined, {
    error: 'template must hold claims in braces with text between them, such as "{tid}:{oid}"',
  })

const authorization = z
  .strictObject({
    mode: z.enum(['identity', 'role_claim', 'role_map', 'scope_role']).default('identity'),
    claim: claimPath.optional(),
    shape: z.enum(['array', 'string', 'object_keys']).default('array'),
    map: z.record(z.string(), z.array(text)).optional(),
    allow_privileged_roles: z.array(text).default([]),
    bootstrap_superuser: text.default('postgres'),
  })
  .refine(({ mode, claim }) => !mode.startsWith('role_') || claim !== undefined, {
    error: 'this mode needs authorization.claim, the claim that grants roles',
  })
  .refine(({ mode, map }) => (mode === 'role_map') === (map !== undefined), {
    error: 'mode = "role_map" and map belong together',
  })

const MAX_TOLERANCE_MS = 300_000
const scopeToken = z
  .string()
  .regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'must be a scope (RFC 6749 §3.3)')

/** Members for a `z.strictObject`. */
export const claimSettings = {
  clock_tolerance: duration
    .default(60_000)
    .refine((ms) => ms <= MAX_TOLERANCE_MS, { error: 'must be at most 5min' }),
  max_lifetime: duration
    .default(86_400_000)
    .refine((ms) => ms > 0, { error: 'must not be 0: use allow_unlimited_lifetime' }),
  allow_unlimited_lifetime: z.boolean().default(false),
  max_token_age: duration.optional(),
  /** Instead of the rule's scope. */
  scopes: z.array(scopeToken).optional(),
  allow_empty_scope: z.boolean().default(false),
  /** `openid` and the like alone are an error and not only a warning: every client of the provider gets them. */
  require_specific_scope: z.boolean().default(false),
  scope_claims: z.array(text).min(1).default(['scope']),
  scope_shape: z.enum(['string', 'array']).default('string'),
  scope_strip_prefixes: z.array(text).default([]),
  allowed_clients: z.strictObject({ claim: text, values: z.array(text).min(1) }).optional(),
  tenant: z.strictObject({ claim: text.default('tid'), value: text }).optional(),
  claim_rules: z.array(claimRule).default([]),
  identity: identity.prefault({}),
  authorization: authorization.prefault({}),
  /** `jti_once`: a token logs in one time, in this process. Poolers use one token many times. */
  replay: z.enum(['off', 'jti_once']).default('off'),
} as const

export const claimSettingsSchema = z.strictObject(claimSettings)
export type ClaimSettings = z.output<typeof claimSettingsSchema>

/**
 * @param issuer - for identities that carry it
 * @param audience - where a rule's own audience is looked for
 */
export function authorizePolicy(
  settings: ClaimSettings,
  issuer: string,
  audience: AuthorizePolicy['audience'] = {},
): AuthorizePolicy {
  const { tenant, allowed_clients: clients } = settings
  return {
    audience,
    times: {
      toleranceSeconds: settings.clock_tolerance / 1_000,
      maxLifetimeSeconds: settings.allow_unlimited_lifetime
        ? Infinity
        : settings.max_lifetime / 1_000,
      iatRequired: true,
      maxAgeSeconds:
        settings.max_token_age === undefined ? Infinity : settings.max_token_age / 1_000,
    },
    scopes: {
      scopes: settings.scopes,
      allowEmpty: settings.allow_empty_scope,
      claims: settings.scope_claims,
      shape: settings.scope_shape,
      stripPrefixes: settings.scope_strip_prefixes,
    },
    client:
      clients === undefined ? undefined : { claim: clients.claim, values: new Set(clients.values) },
    rules: [
      ...(tenant === undefined
        ? []
        : [{ path: [tenant.claim], op: 'eq' as const, value: tenant.value }]),
      ...settings.claim_rules,
    ],
    identity: identityPolicy(settings, issuer),
    spent: settings.replay === 'off' ? undefined : new SpentTokens(),
    authorization: authorizationPolicy(settings),
  }
}

/** Who decides about the role, unless a rule says otherwise. */
export function authorizationPolicy({ authorization }: ClaimSettings): AuthorizationPolicy {
  return {
    mode: authorization.mode,
    claim: authorization.claim ?? [],
    shape: authorization.shape,
    map: new Map(
      Object.entries(authorization.map ?? {}).map(([value, roles]) => [value, new Set(roles)]),
    ),
    allowPrivilegedRoles: new Set(authorization.allow_privileged_roles),
    bootstrapSuperuser: authorization.bootstrap_superuser,
  }
}

/** The claims that the settings read, by their first name. */
export function claimsInUse(settings: ClaimSettings): readonly string[] {
  const { claims, template } = settings.identity
  const paths: (ClaimPath | undefined)[] = [
    ...claims.map(({ path }) => path),
    ...(parseTemplate(template ?? '') ?? []).map((part) => ('claim' in part ? [part.claim] : [])),
    ...settings.claim_rules.map(({ path }) => path),
    settings.authorization.claim,
    settings.scope_claims.slice(0, 1),
    settings.allowed_clients === undefined ? undefined : [settings.allowed_clients.claim],
    settings.tenant === undefined ? undefined : [settings.tenant.claim],
  ]
  return paths.flatMap((path) => path?.[0] ?? [])
}

function identityPolicy({ identity }: ClaimSettings, issuer: string): IdentityPolicy {
  return {
    claims: identity.claims.map(({ path, prefix }) => ({
      path,
      prefix,
      isEmail: path.at(-1) === 'email',
    })),
    format: identityFormat(identity, issuer),
    allowUnverifiedEmail: identity.allow_unverified_email,
    maxBytes: identity.max_bytes,
    charset: identity.charset,
  }
}

function identityFormat(
  { format, template }: ClaimSettings['identity'],
  issuer: string,
): IdentityPolicy['format'] {
  switch (format) {
    case 'direct':
      return { kind: 'direct' }
    case 'issuer_qualified':
      return { kind: 'issuer_qualified', issuer }
    case 'template':
      return { kind: 'template', parts: parseTemplate(template ?? '') ?? [] }
  }
}

/**
 * `{tid}:{oid}` as its parts; undefined where there is no claim in it, a brace is left over, or nothing stands
 * between two claims: `{a}{b}` would make one name of two people.
 */
function parseTemplate(template: string): TemplatePart[] | undefined {
  const pieces = template.split(/\{([^{}]+)\}/)
  const parts = pieces.map((piece, i) => (i % 2 === 1 ? { claim: piece } : { text: piece }))
  const stray = parts.some((part) => 'text' in part && /[{}]/.test(part.text))
  const touching = pieces.slice(1, -1).some((piece, i) => i % 2 === 1 && piece === '')
  return pieces.length < 3 || stray || touching
    ? undefined
    : parts.filter((part) => !('text' in part) || part.text !== '')
}
