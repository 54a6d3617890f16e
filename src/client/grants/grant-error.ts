/**
 * What went wrong with a grant, in words that hold no secret.
 *
 * @module
 */
import { ResponseBodyError } from 'oauth4webapi'
import { OAuthGrantError } from '../errors.ts'
import { printable } from './printable.ts'

const SECRETS = [
  'client_secret',
  'refresh_token',
  'device_code',
  'code',
  'code_verifier',
  'subject_token',
  'actor_token',
  'client_assertion',
  'token',
]

/**
 * Makes an error of what oauth4webapi threw. Its errors carry whole responses, tokens included, so none
 * of them is kept as a cause.
 *
 * @param what - what could not be done, for the message.
 */
export function grantError(
  what: string,
  error: unknown,
  hidden: { readonly secrets: readonly string[]; readonly clientSecret: string | undefined },
): OAuthGrantError {
  const { clientSecret } = hidden
  const secrets = [...hidden.secrets, clientSecret ?? '']
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

/** The values among a request's parameters that must not show. */
export function secretsIn(parameters: Readonly<Record<string, string>>): string[] {
  return SECRETS.flatMap((name) => parameters[name] ?? [])
}

// An authorization server may echo what it was sent.
function hide(text: string, secrets: readonly string[]): string {
  return secrets
    .filter((secret) => secret.length > 3)
    .reduce((hidden, secret) => hidden.replaceAll(secret, '[hidden]'), text)
}
