/**
 * The `[validators.opaque]` table.
 *
 * @module
 */
import { z } from 'zod'
import { claimSettings } from './claims/settings.ts'
import { httpSettings } from './http/settings.ts'
import { introspectionSettings } from './introspection-settings.ts'
import { MEMBERSHIPS } from './opaque/github-memberships.ts'
import { opaqueTokens } from './remote/foreign-token.ts'
import { remoteSettings } from './remote/settings.ts'
import { duration, secret, text } from './settings/values.ts'

const url = z
  .url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
  .transform((value) => value.replace(/\/$/, ''))

const DAY_MS = 86_400_000

const common = {
  /** How long a token is taken to last whose provider names no end. */
  lifetime_if_unknown: duration
    .default(3_600_000)
    .refine((ms) => ms > 0 && ms <= DAY_MS, { error: 'must be at most 24h' }),
  opaque_tokens: opaqueTokens.optional(),
  ...claimSettings,
  ...remoteSettings,
  http: httpSettings.prefault({ timeout: '2s' }),
}

/** Each with the proof that a token was given to us: nothing works without it. */
export const opaqueSettings = z.discriminatedUnion('provider', [
  z.strictObject({
    provider: z.literal('github'),
    base_url: url.prefault('https://api.github.com'),
    client_id: text,
    client_secret: secret,
    /** Asked for with the token, as the claims of these names: numbers of organizations and teams. */
    memberships: z.array(z.enum(MEMBERSHIPS)).default([]),
    /** Of a hundred memberships each; whoever has more is refused. */
    max_pages: z.int().positive().max(50).default(10),
    ...common,
  }),
  z.strictObject({
    provider: z.literal('google'),
    base_url: url.prefault('https://oauth2.googleapis.com/tokeninfo'),
    client_ids: z.array(text).min(1),
    ...common,
  }),
  z.strictObject({
    provider: z.literal('gitlab'),
    base_url: url.prefault('https://gitlab.com'),
    application_uids: z.array(text).min(1),
    ...common,
  }),
  z
    .strictObject({
      provider: z.literal('userinfo'),
      base_url: url,
      /** As `[validators.introspection]`: proves for whom the token is. */
      introspection: introspectionSettings.optional(),
      /** Any application of the provider can then log in as any of its users. */
      dangerously_allow_unbound_tokens: z.boolean().default(false),
      ...common,
    })
    .refine((s) => (s.introspection === undefined) === s.dangerously_allow_unbound_tokens, {
      error: 'introspection is required: a userinfo endpoint answers for tokens of any application',
    }),
])

export type OpaqueSettings = z.output<typeof opaqueSettings>

/** What the tokens of a provider begin with. */
export const TOKEN_PREFIXES: Readonly<Record<OpaqueSettings['provider'], readonly string[]>> = {
  github: ['gho_', 'ghu_'],
  google: ['ya29.'],
  gitlab: [],
  userinfo: [],
}
