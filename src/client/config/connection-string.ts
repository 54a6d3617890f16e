/**
 * The OAuth part of a libpq connection string.
 *
 * @module
 */
import { TokenConfigError } from '../errors.ts'

/** What a connection string says about the server, the role and OAuth. Printing it hides the secret. */
export interface OAuthConnectionString {
  readonly host: string | undefined
  readonly port: number | undefined
  readonly user: string | undefined
  readonly database: string | undefined
  readonly issuer: string | undefined
  readonly clientId: string | undefined
  /** Not enumerable. */
  readonly clientSecret: string | undefined
  readonly scope: string | undefined
  readonly caFile: string | undefined
  readonly requireAuth: string | undefined
  readonly channelBinding: 'disable' | 'prefer' | 'require' | undefined
  readonly sslnegotiation: 'postgres' | 'direct' | undefined
  /** `oauth_environment` and what belongs to it, for `sourceFromConfig`. */
  readonly source: { readonly environment: string; readonly [name: string]: unknown } | undefined
}

/** libpq's OAuth options, and ours for built-in sources. */
const OAUTH_KEYS: ReadonlySet<string> = new Set([
  'oauth_issuer',
  'oauth_client_id',
  'oauth_client_secret',
  'oauth_scope',
  'oauth_ca_file',
  'oauth_environment',
  'oauth_resource',
  'oauth_audience',
  'oauth_path',
  'oauth_variable',
])

// Decisions of the program that must not come with a string somebody passed on.
const PROGRAM_ONLY = /^(?:oauth_)?(?:allowed_?hosts|callback|allow_?insecure.*|insecure|command)$/i

/**
 * Reads `postgresql://…` or `key=value …`. Keys that have nothing to do with OAuth or the target are
 * left alone.
 *
 * @throws TokenConfigError for an unknown `oauth_` key, one that only a program may set, or a password
 * next to a token source. No value is repeated.
 */
export function parseOAuthConnectionString(text: string): OAuthConnectionString {
  const values = /^postgres(?:ql)?:\/\//.test(text) ? fromUri(text) : fromKeywords(text)
  for (const key of values.keys()) {
    if (PROGRAM_ONLY.test(key)) {
      throw new TokenConfigError(`${key} cannot be set in a connection string`)
    }
    if (key.startsWith('oauth_') && !OAUTH_KEYS.has(key)) {
      throw new TokenConfigError(`invalid connection option "${key}"`)
    }
  }
  const environment = values.get('oauth_environment')
  if (environment !== undefined && values.has('password')) {
    throw new TokenConfigError('a password and a token source exclude each other')
  }
  const port = values.get('port')
  const parsed = {
    host: values.get('host'),
    port: port === undefined ? undefined : portNumber(port),
    user: values.get('user'),
    database: values.get('dbname'),
    issuer: values.get('oauth_issuer'),
    clientId: values.get('oauth_client_id'),
    scope: values.get('oauth_scope'),
    caFile: values.get('oauth_ca_file'),
    requireAuth: values.get('require_auth'),
    channelBinding: oneOf(values, 'channel_binding', ['disable', 'prefer', 'require'] as const),
    sslnegotiation: oneOf(values, 'sslnegotiation', ['postgres', 'direct'] as const),
    source: environment === undefined ? undefined : sourceOf(environment, values),
  }
  Object.defineProperty(parsed, 'clientSecret', { value: values.get('oauth_client_secret') })
  return parsed as typeof parsed & { readonly clientSecret: string | undefined }
}

function sourceOf(
  environment: string,
  values: ReadonlyMap<string, string>,
): NonNullable<OAuthConnectionString['source']> {
  const properties = ['resource', 'audience', 'path', 'variable'].flatMap((name) => {
    const value = values.get(`oauth_${name}`)
    return value === undefined ? [] : [[name, value] as const]
  })
  // An Azure identity; for the grants it is the client anyway.
  const clientId = environment === 'azure' ? values.get('oauth_client_id') : undefined
  return {
    environment,
    ...Object.fromEntries(properties),
    ...(clientId === undefined ? {} : { clientId }),
  }
}

function portNumber(value: string): number {
  const port = Number(value)
  if (!/^\d+$/.test(value) || port < 1 || port > 65_535) {
    throw new TokenConfigError('invalid port number')
  }
  return port
}

function oneOf<Value extends string>(
  values: ReadonlyMap<string, string>,
  key: string,
  allowed: readonly Value[],
): Value | undefined {
  const value = values.get(key)
  if (value !== undefined && !(allowed as readonly string[]).includes(value)) {
    throw new TokenConfigError(`invalid ${key} value`)
  }
  return value as Value | undefined
}

function fromUri(text: string): Map<string, string> {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new TokenConfigError('the connection string is not a valid URI')
  }
  const parts: readonly (readonly [string, string])[] = [
    ['host', decode(url.hostname.replace(/^\[(.*)\]$/, '$1'))],
    ['port', url.port],
    ['user', decode(url.username)],
    ['password', url.password === '' ? '' : 'given'],
    ['dbname', decode(url.pathname.slice(1))],
  ]
  const values = new Map(parts.filter(([, value]) => value !== ''))
  for (const pair of url.search.slice(1).split('&')) {
    if (pair !== '') {
      const at = pair.indexOf('=')
      // Not form encoding: a plus is a plus, as in libpq.
      values.set(decode(pair.slice(0, at < 0 ? undefined : at)), decode(pair.slice(at + 1)))
    }
  }
  return values
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new TokenConfigError('invalid percent-encoding in the connection string')
  }
}

// conninfo: blanks between pairs, values plain or in single quotes with backslash escapes.
function fromKeywords(text: string): Map<string, string> {
  const values = new Map<string, string>()
  const pair = /\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)/gsy
  let end = 0
  for (const match of text.matchAll(pair)) {
    values.set(match[1] ?? '', (match[2] ?? match[3] ?? '').replace(/\\(.)/gs, '$1'))
    end = match.index + match[0].length
  }
  if (text.slice(end).trim() !== '') {
    throw new TokenConfigError('the connection string is neither a URI nor key=value pairs')
  }
  return values
}
