/**
 * One expectation against the rules.
 *
 * @module
 */
import path from 'node:path'
import { fromText } from '../byte-string.ts'
import type { Rules } from '../config/rules.ts'
import type { Settings } from '../config/settings.ts'
import { MembershipsUnknownError, ReportError } from '../errors.ts'
import type { HostNameResolver } from '../hba/host-names.ts'
import { DoorError, loginRequestOf } from './door.ts'
import { DECIDED_BY, type Expectation } from './expectation.ts'
import { type Explanation, explainLogin } from './explain-login.ts'

/** What differs from an expectation. */
export interface Difference {
  readonly field: 'outcome' | 'line' | 'map_line' | 'reason' | 'question'
  readonly expected: string
  readonly got: string
}

export interface ExpectationResult {
  readonly expectation: Expectation
  /** Empty: as expected. */
  readonly differences: readonly Difference[]
  /** Undefined where no such connection can be. */
  readonly explanation: Explanation | undefined
}

/** Asks the rules. Nothing is looked up, and no validator is asked. */
export async function checkExpectation(
  expectation: Expectation,
  rules: Rules,
  settings: Settings,
): Promise<ExpectationResult> {
  const { identity } = expectation
  try {
    const explanation = await explainLogin({
      rules: withMemberships(rules, expectation),
      request: loginRequestOf(doorOf(expectation), settings),
      credential: identity === undefined ? undefined : { kind: 'identity', identity },
      signal: new AbortController().signal,
      resolver: statedHostName(expectation),
    })
    return {
      expectation,
      differences: differencesOf(expectation, explanation, settings),
      explanation,
    }
  } catch (error) {
    if (!(error instanceof DoorError) && !(error instanceof ReportError)) {
      throw error
    }
    const got =
      error instanceof MembershipsUnknownError
        ? 'a rule that asks for role memberships: state them with member_of'
        : error.message
    const difference = { field: 'question', expected: 'a connection', got } as const
    return { expectation, differences: [difference], explanation: undefined }
  }
}

function doorOf(expectation: Expectation): Parameters<typeof loginRequestOf>[0] {
  const { user, database, address, tls, replication, client_cert_dn: clientCertDn } = expectation
  return {
    user,
    database,
    address,
    tls,
    replication: replication === undefined ? undefined : String(replication),
    clientCertDn,
  }
}

function withMemberships(rules: Rules, { member_of: groups }: Expectation): Rules {
  if (groups === undefined) {
    return rules
  }
  const stated = new Set<string>(groups.map(fromText))
  return {
    ...rules,
    memberships: { isMember: (role, group) => role === group || stated.has(group) },
  }
}

function statedHostName({ host_name: name, address = '' }: Expectation): HostNameResolver {
  return {
    reverse: async () => {
      if (name === undefined) {
        throw Object.assign(new Error('no host name is stated'), { code: 'ENOTFOUND' })
      }
      return name
    },
    forward: async () => [address],
  }
}

function differencesOf(
  expectation: Expectation,
  explanation: Explanation,
  settings: Settings,
): Difference[] {
  const { outcome, line, map_line: mapLine, reason } = expectation
  const { baseDirectory, hbaFile, identFile = 'pg_ident.conf' } = settings
  const matched = explanation.maps.flatMap(({ answer }) =>
    answer.ok === true && answer.line !== undefined ? [answer.line] : [],
  )
  const compared = [
    { field: 'outcome', expected: outcome, got: outcomeOf(expectation, explanation) },
    {
      field: 'line',
      expected: line === undefined ? undefined : placeOf(line, hbaFile, baseDirectory),
      got: explanation.line === undefined ? 'no entry' : located(explanation.line),
    },
    {
      field: 'map_line',
      expected: mapLine === undefined ? undefined : placeOf(mapLine, identFile, baseDirectory),
      got: matched.map(located).join(', ') || 'no line',
    },
    { field: 'reason', expected: reason, got: explanation.error?.reason ?? 'no refusal' },
  ] as const
  return compared.flatMap(({ field, expected, got }) =>
    expected === undefined || expected === got ? [] : [{ field, expected, got }],
  )
}

/** In the words of the expectation: what decides, or what comes of it. */
function outcomeOf({ outcome }: Expectation, { line, verdict, undecided }: Explanation): string {
  if (DECIDED_BY.some((word) => word === outcome)) {
    return line?.method ?? 'no entry'
  }
  return undecided === undefined ? verdict : `${verdict} (${undecided})`
}

function located({ file, line }: { readonly file: string; readonly line: number }): string {
  return `${file}:${line}`
}

/** A bare number is a line of the main file; files are relative to the settings. */
function placeOf(place: number | string, mainFile: string, baseDirectory: string): string {
  if (typeof place === 'number') {
    return `${path.resolve(baseDirectory, mainFile)}:${place}`
  }
  const colon = place.lastIndexOf(':')
  return `${path.resolve(baseDirectory, place.slice(0, colon))}${place.slice(colon)}`
}
