/**
 * The `[validators.composite]` table.
 *
 * @module
 */
import { z } from 'zod'
import { text } from '../settings/values.ts'

const url = z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
/** The settings of another validator, which checks them itself. */
const table = z.record(z.string(), z.unknown())

const issuer = z
  .strictObject({
    issuer: url,
    /** Where two policies have the same issuer: the claim that tells their tokens apart. */
    select_by: z.strictObject({ claim: text, value: text }).optional(),
    jwt: table.optional(),
    introspection: table.optional(),
  })
  .refine(({ jwt, introspection }) => jwt !== undefined || introspection !== undefined, {
    error: 'needs jwt, introspection, or both (then both have to accept)',
  })

const opaque = z
  .strictObject({
    /** For identities and discovery; an opaque token names no issuer. */
    issuer: url,
    opaque: table.optional(),
    introspection: table.optional(),
  })
  .refine((branch) => (branch.opaque === undefined) !== (branch.introspection === undefined), {
    error: 'needs opaque or introspection',
  })

export const compositeSettings = z
  .strictObject({
    issuers: z.array(issuer).min(1).max(64),
    /** Who is asked about tokens that are no JWT; without it they are refused. */
    opaque: opaque.optional(),
    /** Issuers can name each other's users. */
    allow_identity_overlap: z.boolean().default(false),
    /** Where two validators judge a token, one of them may not say which client it was issued to. */
    allow_missing_client: z.boolean().default(false),
  })
  .superRefine((settings, context) => {
    for (const problem of ambiguities(settings.issuers)) {
      context.addIssue(problem)
    }
  })

export type CompositeSettings = z.output<typeof compositeSettings>

/** Every token must belong to at most one policy, before anything is checked. */
function ambiguities(issuers: readonly z.output<typeof issuer>[]): string[] {
  const problems: string[] = []
  for (const name of new Set(issuers.map(({ issuer }) => issuer))) {
    const same = issuers.filter(({ issuer }) => issuer === name)
    if (same.length === 1) {
      continue
    }
    const claims = new Set(same.map(({ select_by: by }) => by?.claim))
    const values = new Set(same.map(({ select_by: by }) => by?.value))
    if (claims.has(undefined) || claims.size > 1 || values.size < same.length) {
      problems.push(
        `issuers: "${name}" appears ${same.length} times: each needs select_by with the same claim and another value`,
      )
    }
  }
  return problems
}
