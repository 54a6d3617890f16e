/**
 * The `[validators.introspection]` table.
 *
 * @module
 */
import { z } from 'zod'
import { claimSettings } from './claims/settings.ts'
import { httpSettings } from './http/settings.ts'
import { algorithms, keySettings } from './keys/settings.ts'
import { clientAuthentication } from './remote/client-authentication.ts'
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
    client_auth: clientAuthentication,
    token_parameter: text.default('token'),
    token_type_hint: z.string().default('access_token'),
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
  .refine((settings) => !settings.allow_missing_audience || settings.allowed_clients, {
    error:
      'allow_missing_audience needs allowed_clients: otherwise every client of the provider gets in',
  })

export type IntrospectionSettings = z.output<typeof introspectionSettings>
