/**
 * What went wrong with a grant, in words that hold no secret.
 *
 * @module
 */
import { ResponseBodyError } from 'oauth4webapi'
import { OAuthGrantError } from '../errors.ts'
import type { BoundedRequest } from './bounded-fetch.ts'
import { printable } from './printable.ts'

/** Parameters whose values must not show. */
const SECRETS: ReadonlySet<string> = new Set([
  'access_token',
  'actor_token',
  'client_assertion',
  'client_secret',
  'code',
  'code_verifier',
  'device_code',
  'refresh_token',
  'subject_token',
  'token',
])

// Nothing is hidden by hiding every `a`.
const SHORTEST_HIDDEN = 4

/**
 * Makes an error of what oauth4webapi threw. Its errors carry whole responses, tokens included, so none
 * of them is kept as a cause.
 *
 * @param what - what could not be done, for the message.
 */
export function grantError(
  what: string,
  error: unknown,
  hidden: { readonly secrets: Iterable<string>; readonly clientSecret: string | undefined },
): OAuthGrantError {
  const { secrets, clientSecret } = hidden
  if (!(error instanceof ResponseBodyError)) {
    const text = error instanceof Error ? error.message : 'unknown error'
    return new OAuthGrantError(`${what}: ${printable(hide(text, secrets))}`)
  }
  const { error: code, error_description: description, status } = error
  const text = description ?? (code === 'invalid_client' ? clientFault(clientSecret) : undefined)
  const said = text === undefined ? code : `${text} (${code})`
  return new OAuthGrantError(`${what}: ${printable(hide(said, secrets))}`, {
    error: printable(hide(code, secrets)),
    status,
  })
}

function clientFault(clientSecret: string | undefined): string {
  return clientSecret === undefined
    ? 'provider requires client authentication, and no client secret is set'
    : 'provider rejected the client secret'
}

/** What a request carried that must not show, as it was sent: its authorization and the values of its body. */
export function secretsIn({ headers = {}, body }: BoundedRequest): string[] {
  const authorization = new Headers(headers).get('authorization') ?? ''
  const values = [...new URLSearchParams(body ?? undefined)]
    .filter(([name]) => SECRETS.has(name))
    .map(([, value]) => value)
  return [authorization.replace(/^\S+ /, ''), ...values]
}

// An authorization server may echo what it was sent, decoded or not. The longest first, so that no secret
// is found within another one.
function hide(text: string, secrets: Iterable<string>): string {
  return [...secrets]
    .flatMap((secret) => [secret, formEncoded(secret)])
    .filter(({ length }) => length >= SHORTEST_HIDDEN)
    .sort((a, b) => b.length - a.length)
    .reduce((hidden, secret) => hidden.replaceAll(secret, '[hidden]'), text)
}

function formEncoded(text: string): string {
  return new URLSearchParams({ x: text }).toString().slice(2)
}
