/**
 * The `[validators.introspection]` table.
 *
 * @module
 */
import { z } from 'zod'
import { claimSettings } from './claims/settings.ts'
import { httpSettings } from './http/settings.ts'
import { algorithms, keySettings } from './keys/settings.ts'
import { type ClientAuthentication, clientAuthentication } from './remote/client-authentication.ts'
import { opaqueTokens } from './remote/foreign-token.ts'
import { remoteSettings } from './remote/settings.ts'
import { text } from './settings/values.ts'

const url = z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' })

export const introspectionSettings = z
  .strictObject({
    issuer: url.optional(),
    discovery: z.enum(['oidc', 'rfc8414']).default('oidc'),
    discovery_url: url.optional(),
    /** Default: `introspection_endpoint` of the issuer's metadata. */
    endpoint: url.optional(),
    /** `tokenreview`: the API server of a Kubernetes cluster is asked, in its own words. */
    mode: z.enum(['rfc7662', 'tokenreview']).default('rfc7662'),
    client_auth: clientAuthentication,
    /** Default: `token`. */
    token_parameter: text.optional(),
    /** Default: `access_token`; an empty text sends none. */
    token_type_hint: z.string().optional(),
    /** Where more about the owner of a token is asked for; `metadata`: at the `userinfo_endpoint`. */
    userinfo: z.union([z.enum(['off', 'metadata']), url]).default('off'),
    /** RFC 9701: whether the answer is a JWT. */
    signed: z.enum(['off', 'prefer', 'require']).default('off'),
    algorithms,
    keys: keySettings.prefault({}),
    /** Whom the token must have been issued for. */
    audiences: z.array(text).min(1).optional(),
    audience_match: z.enum(['any', 'all', 'exact']).default('any'),
    /** For providers that do not tell: the client that got the token is checked instead. */
    allow_missing_audience: z.boolean().default(false),
    opaque_tokens: opaqueTokens.prefault({}),
    ...claimSettings,
    ...remoteSettings,
    http: httpSettings.prefault({ timeout: '2s' }),
  })
  .refine((settings) => (settings.audiences === undefined) === settings.allow_missing_audience, {
    error: 'audiences is required (or allow_missing_audience, and then not)',
  })
  .refine(
    ({ client_auth, http }) =>
      client_auth.method !== 'tls_client_auth' || http.client_cert !== undefined,
    { error: 'client_auth.method = "tls_client_auth" needs http.client_cert and http.client_key' },
  )
  .refine(({ signed, client_auth }) => signed === 'off' || client_auth.client_id !== undefined, {
    error: 'client_auth.client_id is required: signed answers are for a client',
  })
  .superRefine((settings, context) => {
    for (const problem of settings.mode === 'tokenreview' ? notForTokenReview(settings) : []) {
      context.addIssue(problem)
    }
  })
  .refine((settings) => !settings.allow_missing_audience || settings.allowed_clients, {
    error:
      'allow_missing_audience needs allowed_clients: otherwise every client of the provider gets in',
  })

interface TokenReviewSettings {
  readonly client_auth: ClientAuthentication
  readonly allow_missing_audience: boolean
  readonly signed: string
  readonly token_parameter?: string | undefined
  readonly token_type_hint?: string | undefined
  readonly userinfo: string
}

/** What Kubernetes has no word for would be believed to work. */
function notForTokenReview(settings: TokenReviewSettings): string[] {
  const wrong = {
    client_auth: settings.client_auth.method !== 'bearer',
    allow_missing_audience: settings.allow_missing_audience,
    signed: settings.signed !== 'off',
    token_parameter: settings.token_parameter !== undefined,
    token_type_hint: settings.token_type_hint !== undefined,
    userinfo: settings.userinfo !== 'off',
  }
  const problem = (name: string): string =>
    name === 'client_auth'
      ? 'client_auth.method must be "bearer" with mode = "tokenreview"'
      : `${name} cannot be set with mode = "tokenreview"`
  return Object.entries(wrong).flatMap(([name, isWrong]) => (isWrong ? [problem(name)] : []))
}

/** The table with what follows from its mode: tokens of Kubernetes carry no scope, and say so. */
export function expandMode(table: Readonly<Record<string, unknown>>): typeof table {
  return table['mode'] === 'tokenreview' ? { scopes: [], allow_empty_scope: true, ...table } : table
}

export type IntrospectionSettings = z.output<typeof introspectionSettings>
