/**
 * JSON from an authorization server, under libpq's limits (`oauth-curl.c`).
 *
 * @module
 */
import { scanJson } from '../exchange/error-challenge.ts'
import { OAuthGrantError } from '../errors.ts'
import { printable } from './printable.ts'

// MAX_OAUTH_NESTING_LEVEL in libpq's oauth-curl.c.
const MAX_NESTING = 16

/**
 * The response with its body checked, and rewritten where libpq accepts more than a standard does.
 * Statuses that carry no JSON of interest pass as they are.
 *
 * @throws OAuthGrantError
 */
export async function checkedJson(
  response: Response,
  rewrite?: (json: Record<string, unknown>) => void,
): Promise<Response> {
  const { status, headers } = response
  if (status !== 200 && status !== 400 && status !== 401) {
    return response
  }
  const type = headers.get('content-type') ?? ''
  if (!/^application\/json[ \t]*(?:;|$)/i.test(type)) {
    if (status === 200 && headers.get('content-length') === '0') {
      return response
    }
    throw new OAuthGrantError(`unexpected content type: ${JSON.stringify(printable(type))}`)
  }
  const text = await response.text()
  const json = parsed(text)
  if (scanJson(text).depth > MAX_NESTING) {
    throw new OAuthGrantError('response is too deeply nested')
  }
  if (status === 200) {
    rewrite?.(json)
  }
  return new Response(JSON.stringify(json), {
    status,
    headers: { 'content-type': 'application/json' },
  })
}

function parsed(text: string): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new OAuthGrantError('response is not JSON')
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new OAuthGrantError('top-level element must be an object')
  }
  return json as Record<string, unknown>
}

/** What libpq accepts in a device authorization response beyond RFC 8628. */
export function deviceFields(json: Record<string, unknown>): void {
  // Google and older servers.
  json['verification_uri'] ??= json['verification_url']
  const interval = Number(json['interval'] ?? 5)
  if (Number.isNaN(interval)) {
    throw new OAuthGrantError('field "interval" must be a number')
  }
  json['interval'] = Math.max(1, Math.ceil(interval))
}
