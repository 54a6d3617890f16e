/**
 * What the commands for people have in common: where a token comes from, and what an error means for
 * the exit code.
 *
 * @module
 */
import fs from 'node:fs/promises'
import { sourceFromConfig } from '../config/source-config.ts'
import { OAuthGrantError, TokenConfigError, TokenRejectedError } from '../errors.ts'
import { readTokenFile } from '../sources/simple-sources.ts'
import type { TokenCallback } from '../token/callback.ts'
import { RefreshTokenFile, keepingRefreshTokens } from './refresh-token-file.ts'

/** The flags that say where a token comes from. */
export interface SourceFlags {
  /** A name of `sourceFromConfig`. Default `device`. */
  readonly source?: string | undefined
  readonly issuer?: string | undefined
  readonly clientId?: string | undefined
  /** A file: a secret in an argument is seen by everybody on the machine. */
  readonly clientSecretFile?: string | undefined
  readonly clientAuthentication?: string | undefined
  readonly scope?: string | undefined
  readonly resource?: string | undefined
  readonly audience?: string | undefined
  readonly redirectUri?: string | undefined
  /** Authorities that the authorization server's certificate is checked against, PEM. */
  readonly oauthCaFile?: string | undefined
  /** Of the sources `file` and `k8s`. */
  readonly path?: string | undefined
  /** Of the sources `env` and `gitlab`. */
  readonly variable?: string | undefined
  /** Of the source `exec`. */
  readonly tokenCommand?: readonly string[] | undefined
  readonly allowInsecureIssuer?: boolean | undefined
  /** Where refresh tokens are kept, 0600. Default: they are not. */
  readonly refreshTokenFile?: string | undefined
  /** Log in although nobody may be there to see the prompt; print to a terminal. */
  readonly force?: boolean | undefined
}

/** Where a command reads and writes. */
export interface CommandStreams {
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean | undefined }
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean | undefined }
}

const GRANT_SOURCES: ReadonlySet<string> = new Set(['client-credentials', 'device', 'code'])

/** The settings of the source that the flags describe. */
export async function sourceConfigOf(
  flags: SourceFlags,
): Promise<{ readonly environment: string; readonly [name: string]: unknown }> {
  const { oauthCaFile, clientSecretFile, issuer, clientId, scope, source = 'device' } = flags
  // These belong to the login as well; only some sources have anything to do with them.
  const grant = GRANT_SOURCES.has(source) ? { issuer, clientId, scope } : {}
  const config = {
    environment: source,
    ...grant,
    ...(source === 'azure' ? { clientId } : {}),
    clientSecret:
      clientSecretFile === undefined ? undefined : await readTokenFile(clientSecretFile),
    clientAuthentication: flags.clientAuthentication,
    resource: flags.resource,
    audience: flags.audience,
    redirectUri: flags.redirectUri,
    ca: oauthCaFile === undefined ? undefined : await readPem(oauthCaFile),
    path: flags.path,
    variable: flags.variable,
    command: flags.tokenCommand,
    allowInsecureIssuer: flags.allowInsecureIssuer,
  }
  const given = Object.entries(config).filter(([, value]) => value !== undefined)
  return { environment: config.environment, ...Object.fromEntries(given) }
}

/** The source that the flags describe, with refresh tokens kept where that is wanted. */
export async function sourceOf(
  flags: SourceFlags,
  streams: CommandStreams,
): Promise<TokenCallback<undefined>> {
  const source = sourceFromConfig(await sourceConfigOf(flags))
  if (source.interactive && streams.stderr.isTTY !== true && flags.force !== true) {
    throw new TokenConfigError(
      'this login needs a person, and nobody is at a terminal to be asked (--force to try anyway)',
    )
  }
  return flags.refreshTokenFile === undefined
    ? source
    : keepingRefreshTokens(source, new RefreshTokenFile(flags.refreshTokenFile), keyOf(flags))
}

/** Refresh tokens are kept apart by what they are for. */
export function keyOf({ issuer, clientId, scope, resource, audience }: SourceFlags): string {
  return JSON.stringify([issuer, clientId, scope, resource, audience].map((part) => part ?? null))
}

/** Reads a PEM file. */
export async function readPem(file: string): Promise<string> {
  try {
    return await fs.readFile(file, 'utf8')
  } catch (error) {
    throw new TokenConfigError(
      `could not read certificate file "${file}": ${(error as NodeJS.ErrnoException).code}`,
    )
  }
}

/** 2: wrong usage, or refused. 1: it failed. */
export function exitCodeOf(error: unknown): 1 | 2 {
  const chain = [error, error instanceof Error ? error.cause : undefined]
  const refused = chain.some(
    (one) =>
      one instanceof TokenConfigError ||
      one instanceof TokenRejectedError ||
      (one instanceof OAuthGrantError && one.error !== undefined),
  )
  return refused ? 2 : 1
}
