/**
 * `[upstream.oauth]`: which token the server behind is shown, where it asks for one.
 *
 * @module
 */
import { z } from 'zod'
import { secretPlaceSchema } from './secret-place.ts'

const text = z.string().min(1)
/** A client of an authorization server. */
const client = {
  issuer: z.url({ protocol: /^https$/, error: 'must be an https URL' }),
  client_id: text,
  client_authentication: z.enum(['basic', 'post']).optional(),
  scope: text.optional(),
  /** RFC 8707. */
  resource: text.optional(),
  audience: text.optional(),
  /** A PEM file of authorities, for the authorization server. */
  ca: text.optional(),
}

/** Sources that need no person, by the names that `pgbearer token` has for them. */
const source = z.discriminatedUnion(
  'environment',
  [
    z.strictObject({
      environment: z.literal('client-credentials'),
      ...client,
      client_secret: secretPlaceSchema,
    }),
    z.strictObject({
      environment: z.literal('azure'),
      resource: text,
      client_id: text.optional(),
    }),
    z.strictObject({ environment: z.literal('gcp'), resource: text }),
    z.strictObject({ environment: z.literal('k8s'), path: text }),
    z.strictObject({ environment: z.literal('github-actions'), audience: text }),
    z.strictObject({ environment: z.literal('gitlab'), variable: text }),
    z.strictObject({ environment: z.literal('env'), variable: text }),
    z.strictObject({ environment: z.literal('file'), path: text }),
    z.strictObject({
      environment: z.literal('exec'),
      command: z.tuple([text], z.string()),
      output: z.enum(['json', 'text']).optional(),
    }),
  ],
  'must name a source that needs no person: client-credentials, azure, gcp, k8s, github-actions, gitlab, env, file or exec',
)

/** RFC 8693. The subject token is the client's. */
const exchange = z.strictObject({
  ...client,
  client_secret: secretPlaceSchema.optional(),
  subject_token_type: text.optional(),
  requested_token_type: text.optional(),
})

/** Strict, like all settings. `forward` stands alone: nothing else can turn it on. */
export const upstreamOAuthSchema = z.discriminatedUnion(
  'token',
  [
    z.strictObject({ token: z.literal('forward') }),
    z.strictObject({ token: z.literal('provider'), source }),
    z.strictObject({ token: z.literal('exchange'), source: exchange }),
  ],
  'must be "forward", "provider" or "exchange"',
)

/** As written: the names are handed on, and secrets are read when the settings are put to use. */
export type UpstreamOAuthSettings = z.output<typeof upstreamOAuthSchema>

/** The table of a source. */
export type TokenSourceSettings = Extract<UpstreamOAuthSettings, { token: 'provider' }>['source']

/** The table of an exchange. */
export type TokenExchangeSettings = Extract<UpstreamOAuthSettings, { token: 'exchange' }>['source']

/** The names that there are in `[upstream.oauth]` and, below that, in a source. */
export function upstreamOAuthNames(inSource: boolean): readonly string[] {
  const tables = inSource
    ? [exchange, ...source.options].map(({ shape }) => shape)
    : [{ token: '', source: '' }]
  return [...new Set(tables.flatMap((shape) => Object.keys(shape)))]
}

/** The line of a setting there, or else of its table; undefined where neither is plain. */
export function upstreamOAuthLine(text: string, place: readonly PropertyKey[]): number | undefined {
  const tableOfKey = place.slice(0, -1).join('.')
  const key = String(place.at(-1))
  let table = ''
  let tableLine: number | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*\[\s*([^\]]*?)\s*\]/.exec(line)?.[1]
    const name = /^\s*"?([\w-]+)"?\s*[.=]/.exec(line)?.[1]
    table = header ?? table
    if (header === undefined && table === tableOfKey && name === key) {
      return index + 1
    }
    if (header === tableOfKey || (table === 'upstream' && name === 'oauth')) {
      tableLine = index + 1
    }
  }
  return tableLine
}
