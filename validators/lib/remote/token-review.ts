/**
 * The API server of a Kubernetes cluster, asked about the token of a service account (`TokenReview` of
 * `authentication.k8s.io/v1`): unlike a signature it knows that a pod is gone.
 *
 * The cluster answers for each token that it knows, also for those that are meant for itself, unless it
 * is told for whom; and a server that does not understand the question leaves the audiences out of its
 * answer. So they are always asked for and always looked for.
 *
 * @module
 */
import { checkAudience } from '../claims/registered.ts'
import { isJsonObject, type JsonObject, member } from '../json.ts'
import { Fault, Refusal } from '../refusal.ts'
import { unverifiedClaims } from '../token/classify.ts'
import { askForJson, type ProviderConnection } from './ask.ts'
import type { Credentials } from './client-authentication.ts'
import { FOREIGN_TOKEN_LIMITS } from './foreign-token.ts'
import type { Inquiry } from './introspection-policy.ts'

/** Where the API server of the cluster is that we run in. */
export const IN_CLUSTER_ENDPOINT =
  'https://kubernetes.default.svc/apis/authentication.k8s.io/v1/tokenreviews'

const API_VERSION = 'authentication.k8s.io/v1'
const KIND = 'TokenReview'

interface Parts {
  readonly url: URL
  readonly audiences: readonly string[]
  readonly match: 'any' | 'all' | 'exact'
  readonly connection: ProviderConnection
  readonly credentials: () => Promise<Credentials>
}

export class TokenReview implements Inquiry {
  readonly takesOpaqueTokens = false
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async about(token: string, signal: AbortSignal): Promise<JsonObject> {
    const { url, audiences, match, connection, credentials } = this.#parts
    const { headers } = await credentials()
    const spec = { token, audiences }
    const answer = await askForJson(
      {
        url,
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ apiVersion: API_VERSION, kind: KIND, spec }),
        signal,
      },
      connection,
      // Created, as everything that is posted to Kubernetes; nothing is stored.
      { answer: [200, 201], inactive: [] },
    )
    const wanted = new Set(audiences)
    const { username, status, user } = authenticated(answer)
    checkAudience({ aud: member(status, 'audiences') ?? [] }, { audiences: wanted, match: 'any' })
    // Whose signature the cluster has just verified.
    const claims = unverifiedClaims(token, FOREIGN_TOKEN_LIMITS)
    checkAudience(claims, { audiences: wanted, match })
    if (member(claims, 'sub') !== username) {
      throw new Refusal('identity_invalid', 'Token and cluster name different service accounts.')
    }
    return { ...only(claims, TIMES_AND_NAMES), ...only(user, ATTRIBUTES), sub: username }
  }
}

// Nothing else of the token: what it is worth, the cluster says.
const TIMES_AND_NAMES = ['iss', 'aud', 'exp', 'iat', 'nbf', 'jti', 'cnf', 'act']
const ATTRIBUTES = ['uid', 'groups', 'extra']

interface Authenticated {
  readonly username: string
  readonly user: JsonObject
  readonly status: JsonObject
}

/**
 * @throws {Refusal} `token_inactive`; why, the cluster says in `error`, which is a text with who knows what
 *   in it
 * @throws {Fault} for an answer that is none, or contradicts itself
 */
function authenticated(answer: JsonObject): Authenticated {
  const status = member(answer, 'status')
  if (
    member(answer, 'kind') !== KIND ||
    member(answer, 'apiVersion') !== API_VERSION ||
    !isJsonObject(status)
  ) {
    throw new Fault('provider_bad_response', 'the API server did not answer with a TokenReview')
  }
  if (member(status, 'authenticated') !== true) {
    throw new Refusal('token_inactive', 'The cluster does not accept the token.')
  }
  const user = member(status, 'user')
  const username = isJsonObject(user) ? member(user, 'username') : undefined
  if ((member(status, 'error') ?? '') !== '' || !isJsonObject(user) || !isName(username)) {
    throw new Fault('provider_bad_response', 'the API server accepts the token and does not')
  }
  return { username, user, status }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function only(object: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = member(object, name)
      return value === undefined ? [] : [[name, value]]
    }),
  )
}
