/**
 * Whether one issuer could make up a user of another. Identities of different issuers meet in one user
 * map, so each has to begin with something that no other begins with.
 *
 * @module
 */
import { SettingsError } from '../settings/parse-settings.ts'

/** One issuer and the settings of its validator, with those of a preset. */
export interface Member {
  readonly issuer: string
  readonly table: Readonly<Record<string, unknown>>
}

/** @throws {SettingsError} where two issuers are not kept apart */
export function refuseIdentityOverlap(members: readonly Member[]): void {
  const begins = members.map((member) => ({ issuer: member.issuer, texts: beginnings(member) }))
  for (const [i, one] of begins.entries()) {
    for (const other of begins.slice(i + 1)) {
      if (one.texts.some((a) => other.texts.some((b) => a.startsWith(b) || b.startsWith(a)))) {
        throw new SettingsError(
          `issuers: identities of "${one.issuer}" and "${other.issuer}" could be the same: give each identity.format = "issuer_qualified" or a prefix of its own (or allow_identity_overlap)`,
        )
      }
    }
  }
}

/** What the identities of an issuer begin with; an empty text where that is not fixed. */
function beginnings({ issuer, table }: Member): string[] {
  const identity = isTable(table['identity']) ? table['identity'] : {}
  if (identity['format'] === 'issuer_qualified') {
    return [`v1.${Buffer.from(issuer).toString('base64url')}.`]
  }
  if (typeof identity['template'] === 'string') {
    return [identity['template'].replace(/\{.*$/s, '')]
  }
  const claims = Array.isArray(identity['claims']) ? identity['claims'] : ['/sub']
  return claims.map((claim: unknown) =>
    isTable(claim) && typeof claim['prefix'] === 'string' ? claim['prefix'] : '',
  )
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
