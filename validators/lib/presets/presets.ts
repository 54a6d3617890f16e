/**
 * What is special about the tokens of each provider: how an access token is told from an ID token, where
 * scopes are, and which claim names a user for good. `docs/reference/validators/presets.md` says how to
 * configure each provider.
 *
 * @module
 */
import { z } from 'zod'
import { text } from '../settings/values.ts'

export interface Preset<Parameters = Readonly<Record<string, unknown>>> {
  /** What the provider needs to know. */
  readonly schema: z.ZodType<Parameters>
  /** Settings as an operator would write them. */
  readonly settings: (parameters: Parameters) => Readonly<Record<string, unknown>>
}

function preset<Shape extends z.ZodRawShape>(
  shape: Shape,
  settings: (parameters: z.output<z.ZodObject<Shape, z.core.$strict>>) => Record<string, unknown>,
): Preset {
  const schema = z.strictObject(shape)
  return { schema, settings: (parameters) => settings(schema.parse(parameters)) }
}

const has = (...path: string[]): unknown => ({ path, op: 'exists' })
const is = (name: string, value: unknown): unknown => ({ path: [name], op: 'eq', value })

/** GitLab writes a text, not a boolean. */
const PROTECTED_REF = {
  path: ['ref_protected'],
  op: 'eq',
  value: 'true',
  message: 'The ref is not protected.',
}

/** Tokens of machines carry no scope; their audience is what they are for. */
const NO_SCOPE = { scopes: [], allow_empty_scope: true }

const guid = z
  .string()
  .regex(
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
    'must be a GUID in lower case (common, organizations and consumers are many tenants at once)',
  )
const authority = z.url({ protocol: /^https$/ }).default('https://login.microsoftonline.com')

/** Mutable names (`upn`, `email`, `preferred_username`) are never the default: CVE-2023-3128. */
const ENTRA = {
  algorithms: ['RS256'],
  scope_claims: ['scp'],
  identity: { format: 'template', template: '{tid}:{oid}' },
  authorization: { claim: '/roles' },
}

export const PRESETS = {
  rfc9068: preset({}, () => ({ profile: 'rfc9068', authorization: { claim: '/roles' } })),

  keycloak: preset({}, () => ({
    token_type: { typ: ['at+jwt'], marker: [is('typ', 'Bearer')] },
    authorization: { claim: '/realm_access/roles' },
  })),

  entra: preset({ tenant_id: guid, authority }, ({ tenant_id: tid, authority }) => ({
    ...ENTRA,
    issuer: `${authority}/${tid}/v2.0`,
    token_type: { typ: [], marker: [is('ver', '2.0')] },
    tenant: { claim: 'tid', value: tid },
  })),

  // The rule (and so libpq) knows the issuer of version 2; tokens of version 1 say another.
  'entra-v1': preset({ tenant_id: guid, authority }, ({ tenant_id: tid, authority }) => ({
    ...ENTRA,
    issuer: `${authority}/${tid}/v2.0`,
    allow_other_token_issuer: `https://sts.windows.net/${tid}/`,
    jwks_uri: `${authority}/${tid}/discovery/keys`,
    token_type: { typ: [], marker: [is('ver', '1.0')] },
    tenant: { claim: 'tid', value: tid },
  })),

  'google-id': preset({}, () => ({
    ...NO_SCOPE,
    issuer: 'https://accounts.google.com',
    algorithms: ['RS256'],
    http: { allowed_hosts: ['www.googleapis.com'] },
    token_type: { typ: [], marker: [has('azp')], allow_id_tokens: true },
  })),

  okta: preset({}, () => ({
    algorithms: ['RS256'],
    token_type: { typ: [], marker: [has('cid'), is('ver', 1)] },
    scope_claims: ['scp'],
    scope_shape: 'array',
    identity: { claims: ['/uid', '/sub'] },
    authorization: { claim: '/groups' },
  })),

  auth0: preset({}, () => ({
    algorithms: ['RS256'],
    token_type: { typ: ['at+jwt'], marker: [has('azp'), has('scope')] },
    authorization: { claim: '/permissions' },
  })),

  cognito: preset({}, () => ({
    algorithms: ['RS256'],
    audience_claim: 'client_id',
    token_type: { typ: [], marker: [is('token_use', 'access')] },
    authorization: { claim: ['cognito:groups'] },
  })),

  'gitlab-ci': preset(
    { allow_unprotected_refs: z.boolean().default(false) },
    ({ allow_unprotected_refs: unprotected }) => ({
      ...NO_SCOPE,
      algorithms: ['RS256'],
      token_type: { typ: [], marker: [has('project_id'), has('pipeline_id')] },
      identity: { format: 'template', template: 'project:{project_id}' },
      claim_rules: unprotected ? [] : [PROTECTED_REF],
    }),
  ),

  // `sub` is customizable and names are recycled: numbers identify.
  'github-actions': preset({ owner_id: text }, ({ owner_id }) => ({
    ...NO_SCOPE,
    issuer: 'https://token.actions.githubusercontent.com',
    algorithms: ['RS256'],
    token_type: { typ: [], marker: [has('repository_id'), has('job_workflow_ref')] },
    identity: { format: 'template', template: '{repository_owner_id}/{repository_id}' },
    claim_rules: [is('repository_owner_id', owner_id)],
  })),

  'kubernetes-sa': preset({ namespace: text }, ({ namespace }) => ({
    ...NO_SCOPE,
    token_type: { typ: [], marker: [has('kubernetes.io', 'serviceaccount', 'uid')] },
    claim_rules: [{ path: ['kubernetes.io', 'namespace'], op: 'eq', value: namespace }],
  })),

  'aws-outbound': preset(
    { account_id: z.string().regex(/^\d{12}$/, 'must be the 12 digits of an account') },
    ({ account_id }) => ({
      ...NO_SCOPE,
      algorithms: ['RS256', 'ES384'],
      token_type: { typ: [], marker: [has('https://sts.amazonaws.com/')] },
      claim_rules: [
        { path: ['https://sts.amazonaws.com/', 'aws_account'], op: 'eq', value: account_id },
      ],
    }),
  ),

  zitadel: preset({}, () => ({
    algorithms: ['RS256'],
    token_type: { typ: ['at+jwt'], marker: [has('client_id')] },
    authorization: { claim: ['urn:zitadel:iam:org:project:roles'], shape: 'object_keys' },
  })),

  // Access tokens look like ID tokens: only a client of its own keeps them apart.
  dex: preset({}, () => ({
    ...NO_SCOPE,
    algorithms: ['RS256'],
    token_type: { typ: [], marker: [has('aud')], allow_id_tokens: true },
    authorization: { claim: '/groups' },
  })),

  authentik: preset({}, () => ({
    algorithms: ['RS256', 'ES256'],
    token_type: { typ: ['at+jwt'], marker: [has('azp'), has('scope')] },
    authorization: { claim: '/groups' },
  })),

  'cloudflare-access': preset(
    { team: z.string().regex(/^[a-z0-9-]+$/, 'must be the name in <team>.cloudflareaccess.com') },
    ({ team }) => ({
      ...NO_SCOPE,
      issuer: `https://${team}.cloudflareaccess.com`,
      algorithms: ['RS256'],
      jwks_uri: `https://${team}.cloudflareaccess.com/cdn-cgi/access/certs`,
      token_type: { typ: [], marker: [is('type', 'app')] },
    }),
  ),

  // A JWT-SVID names no issuer that a validator could compare: its keys and its trust domain are its origin.
  spiffe: preset(
    {
      trust_domain: z
        .string()
        .regex(/^[a-z0-9._-]{1,255}$/, 'must be a trust domain such as "example.org"'),
      bundle_endpoint: z.url({ protocol: /^https$/ }).optional(),
    },
    ({ trust_domain: domain, bundle_endpoint: bundle }) => {
      const ours = { path: ['sub'], op: 'prefix', value: `spiffe://${domain}/` }
      return {
        ...NO_SCOPE,
        algorithms: ['RS256', 'ES256', 'ES384'],
        allow_missing_issuer: true,
        ...(bundle === undefined ? {} : { jwks_uri: bundle }),
        keys: { uses: bundle === undefined ? ['sig', 'jwt-svid'] : ['jwt-svid'] },
        token_type: { typ: [], marker: [ours] },
        // Again, because a table may have a token_type of its own.
        claim_rules: [ours],
      }
    },
  ),
} as const satisfies Readonly<Record<string, Preset>>

export type PresetName = keyof typeof PRESETS
