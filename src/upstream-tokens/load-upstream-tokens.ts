/**
 * `[upstream.oauth]` put to use.
 *
 * @module
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { sourceFromConfig } from '../client/config/source-config.ts'
import type { GrantOptions } from '../client/grants/grant-client.ts'
import { readSecret } from '../config/secret-place.ts'
import type { Settings } from '../config/settings.ts'
import type { TokenExchangeSettings, TokenSourceSettings } from '../config/upstream-oauth.ts'
import { ConfigError, ConfigFileError } from '../errors.ts'
import type { Log } from '../log.ts'
import { isUnixSocket, isVerifying } from '../upstream/settings.ts'
import { isLoopback } from '../upstream/transport.ts'
import { exchangedTokens } from './exchanged-tokens.ts'
import { forwardedTokens } from './forwarded-tokens.ts'
import { ProvidedTokens } from './provided-tokens.ts'
import type { UpstreamTokens } from './upstream-tokens.ts'

/**
 * Reads the secrets that the settings name.
 *
 * @returns undefined without `[upstream.oauth]`: then no token is shown to the server behind.
 * @throws ConfigError where a file is missing or a token could never be sent.
 */
export function loadUpstreamTokens(settings: Settings, log: Log): UpstreamTokens | undefined {
  const { oauth } = settings.upstream
  if (oauth === undefined) {
    return undefined
  }
  checkTransport(settings)
  switch (oauth.token) {
    case 'forward':
      return forwardedTokens()
    case 'provider':
      return new ProvidedTokens(tokenSource(oauth.source, settings), log)
    case 'exchange':
      return exchangedTokens(exchangeOptions(oauth.source, settings))
  }
}

/** Tells of what an operator should know at each start. */
export function warnOfUpstreamTokens({ upstream }: Settings, log: Log): void {
  if (upstream.oauth?.token === 'forward') {
    log.warning("clients' tokens are shown to the server behind", {
      setting: 'upstream.oauth.token',
      detail: 'Whoever runs that server can use a token wherever it is good.',
    })
  }
}

/** What the login would find out, as far as it can be known before. */
function checkTransport({ upstream }: Settings): void {
  const { host, sslmode, requireAuth } = upstream
  const mayBeLocal = isUnixSocket(upstream) || host === 'localhost' || isLoopback(host)
  if (!mayBeLocal && !isVerifying(upstream)) {
    throw problem(
      `a token is sent only with sslmode "verify-full" or "verify-ca", on a Unix socket, or to this machine; sslmode is "${sslmode}"`,
    )
  }
  if (requireAuth !== undefined && !requireAuth.includes('oauth')) {
    throw problem('require_auth does not list "oauth", so no token would ever be sent')
  }
}

function tokenSource(
  written: TokenSourceSettings,
  settings: Settings,
): ReturnType<typeof sourceFromConfig> {
  return attempt(() => {
    switch (written.environment) {
      case 'client-credentials':
        return sourceFromConfig({
          environment: written.environment,
          ...grantOptions(written, settings),
        })
      case 'azure':
        return sourceFromConfig({
          environment: written.environment,
          resource: written.resource,
          ...defined({ clientId: written.client_id }),
        })
      case 'file':
      case 'k8s':
        return sourceFromConfig({ ...written, path: resolved(written.path, settings) })
      case 'exec': {
        const [program, ...args] = written.command
        // As in a shell, a bare name is looked for in PATH.
        const found = program.includes('/') ? resolved(program, settings) : program
        return sourceFromConfig({ ...written, command: [found, ...args] })
      }
      case 'gcp':
      case 'github-actions':
      case 'gitlab':
      case 'env':
        return sourceFromConfig(written)
    }
  })
}

function exchangeOptions(
  written: TokenExchangeSettings,
  settings: Settings,
): Parameters<typeof exchangedTokens>[0] {
  return attempt(() => ({
    ...grantOptions(written, settings),
    subjectTokenType: written.subject_token_type,
    requestedTokenType: written.requested_token_type,
  }))
}

/** The names that RFCs have in settings become those that they have in code. */
function grantOptions(
  written: Omit<TokenExchangeSettings, 'subject_token_type' | 'requested_token_type'>,
  settings: Settings,
): GrantOptions {
  const { client_secret: secret, ca } = written
  return defined({
    issuer: written.issuer,
    clientId: written.client_id,
    clientSecret: secret && readSecret(secret, settings.baseDirectory),
    clientAuthentication: written.client_authentication,
    scope: written.scope,
    resource: written.resource,
    audience: written.audience,
    ca: ca === undefined ? undefined : readFileSync(resolved(ca, settings), 'utf8'),
  })
}

function defined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

function resolved(file: string, { baseDirectory }: Settings): string {
  return path.resolve(baseDirectory, file)
}

function attempt<T>(load: () => T): T {
  try {
    return load()
  } catch (error) {
    throw problem((error as Error).message)
  }
}

// No cause: it could hold what was read.
function problem(message: string): ConfigError {
  return new ConfigError([new ConfigFileError(message, { file: 'settings [upstream.oauth]' })])
}
