/**
 * Which organizations and teams of GitHub the owner of a token belongs to, by number: names can be given
 * up and taken by others. What cannot be read completely grants nothing.
 *
 * @module
 */
import { jsonList, type ProviderResponse } from '../http/request.ts'
import { isJsonObject, type JsonObject, type JsonValue, member } from '../json.ts'
import { Fault, Refusal } from '../refusal.ts'
import { ask, type ProviderConnection } from '../remote/ask.ts'
import { numericId } from './provider.ts'

export const MEMBERSHIPS = ['organizations', 'teams'] as const
export type MembershipKind = (typeof MEMBERSHIPS)[number]

export interface MembershipQuestion {
  readonly token: string
  readonly kinds: readonly MembershipKind[]
  /** Of a hundred memberships each. */
  readonly maxPages: number
  readonly signal: AbortSignal
}

const PATHS: Readonly<Record<MembershipKind, string>> = {
  organizations: '/user/orgs',
  teams: '/user/teams',
}

/** As many as GitHub puts on a page. */
const PAGE = 100
// A team comes with its whole organization.
const MAX_PAGE_BYTES = 1024 * 1024

/**
 * The claims `organizations` and `teams`, as far as they are asked for: lists of numbers as text.
 *
 * @throws {Refusal} `insufficient_scope` where the token may not see them, `limit_exceeded` where there
 *   are too many of them, or of questions with this token
 */
export async function githubMemberships(
  base: string,
  question: MembershipQuestion,
  connection: ProviderConnection,
): Promise<JsonObject> {
  const claims: Record<string, JsonValue> = {}
  for (const kind of new Set(question.kinds)) {
    claims[kind] = await idsOf(new URL(`${base}${PATHS[kind]}`), question, connection)
  }
  return claims
}

/** Pages are counted, not followed: a link in an answer could lead anywhere. */
async function idsOf(
  url: URL,
  { token, maxPages, signal }: MembershipQuestion,
  connection: ProviderConnection,
): Promise<readonly string[]> {
  const ids: string[] = []
  const headers = { authorization: `Bearer ${token}`, accept: 'application/vnd.github+json' }
  for (let page = 1; page <= maxPages; page += 1) {
    const at = new URL(url)
    at.search = new URLSearchParams({ per_page: String(PAGE), page: String(page) }).toString()
    const request = { url: at, headers, maxBytes: MAX_PAGE_BYTES, signal }
    const meaning = { answer: [200, 403, 404, 429], inactive: [401] }
    const response = await ask(request, connection, meaning)
    refuseWhereClosed(response)
    const memberships = jsonList(response, at)
    ids.push(...memberships.map(idOf))
    if (memberships.length < PAGE) {
      return ids
    }
  }
  throw new Refusal('limit_exceeded', 'The owner of the token belongs to more than is looked up.')
}

/**
 * The token is the user's: what GitHub denies to it, also for asking too often, is no failure of GitHub
 * that may keep others out.
 */
function refuseWhereClosed({ status, headers }: ProviderResponse): void {
  const tooOften =
    status === 429 ||
    headers['retry-after'] !== undefined ||
    headers['x-ratelimit-remaining'] === '0'
  if (status !== 200 && tooOften) {
    throw new Refusal('limit_exceeded', 'GitHub was asked too often with this token.')
  }
  if (status !== 200) {
    throw new Refusal('insufficient_scope', 'The token may not see memberships (read:org).')
  }
}

function idOf(membership: JsonValue): string {
  if (!isJsonObject(membership)) {
    throw new Fault('provider_bad_response', 'a membership is not a JSON object')
  }
  return numericId(member(membership, 'id'))
}
