/**
 * One question to a provider about a token, with what each status means for a login.
 *
 * @module
 */
import type { HttpPolicy } from '../http/policy.ts'
import {
  jsonBody,
  type ProviderRequest,
  type ProviderResponse,
  send,
  where,
} from '../http/request.ts'
import type { JsonObject } from '../json.ts'
import { Fault, Refusal } from '../refusal.ts'
import type { Gate } from './gate.ts'

const MAX_PAUSE_MS = 60_000
// Content, URI and header fields (RFC 9110 §15.5.14 and §15.5.15, RFC 6585 §5): of all that is sent, only the
// token is a stranger's choice.
const TOO_LARGE: readonly number[] = [413, 414, 431]

/** How a provider is talked to. */
export interface ProviderConnection {
  readonly http: HttpPolicy
  readonly gate: Gate
}

/** What the statuses of an endpoint mean, where that is not the same everywhere. */
export interface StatusMeaning {
  /** There is an answer to read. Default 200. */
  readonly answer?: readonly number[]
  /** The token is bad. */
  readonly inactive: readonly number[]
  /**
   * It is the token itself that asks. Anybody has one and can use it too often, so that must not pause the
   * questions about other tokens.
   */
  readonly asksWithToken?: true
}

/**
 * Asks, and once more if no connection came about; an answer is never asked for twice.
 *
 * @throws {Refusal} `token_inactive` for a status that says the token is bad, `limit_exceeded` where the
 *   token has asked too often or is too long
 * @throws {Fault} `provider_auth_failed` where we are not let in, `provider_unavailable` and the like
 */
export async function ask(
  request: ProviderRequest,
  { http, gate }: ProviderConnection,
  { answer = [200], inactive, asksWithToken }: StatusMeaning,
): Promise<ProviderResponse> {
  const response = await send(request, http).catch((error: unknown) => {
    if (isConnectFailure(error)) {
      return send(request, http)
    }
    throw error
  })
  const { status } = response
  if (answer.includes(status)) {
    return response
  }
  if (inactive.includes(status)) {
    throw new Refusal('token_inactive', 'The provider says that the token is not good.')
  }
  if (TOO_LARGE.includes(status)) {
    throw new Refusal('limit_exceeded', 'The token is too long for the provider.')
  }
  if (status === 401 || status === 403) {
    throw new Fault('provider_auth_failed', `${where(request.url)} does not accept our credentials`)
  }
  if (status === 429 && asksWithToken === true) {
    throw new Refusal('limit_exceeded', 'The provider was asked too often with this token.')
  }
  if (status === 429) {
    gate.pause(retryAfterMs(response))
  }
  const code = status === 429 || status >= 500 ? 'provider_unavailable' : 'provider_bad_response'
  throw new Fault(code, `${where(request.url)} answered with status ${status}`)
}

/** One question whose answer is a JSON object; see {@link ask}. */
export async function askForJson(
  request: Omit<ProviderRequest, 'maxBytes'>,
  connection: ProviderConnection,
  meaning: StatusMeaning,
): Promise<JsonObject> {
  const full = { ...request, maxBytes: connection.http.maxAnswerBytes }
  return jsonBody(await ask(full, connection, meaning), request.url)
}

function isConnectFailure(error: unknown): boolean {
  const cause = error instanceof Fault ? error.cause : undefined
  return cause instanceof Error && (cause as NodeJS.ErrnoException).code === 'ECONNREFUSED'
}

/** RFC 9110 §10.2.3, in seconds; a date is not worth reading. */
function retryAfterMs({ headers }: ProviderResponse): number {
  const seconds = Number(headers['retry-after'] ?? '1')
  return Number.isFinite(seconds) ? Math.min(MAX_PAUSE_MS, Math.max(0, seconds * 1_000)) : 1_000
}
