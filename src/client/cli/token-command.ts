/**
 * `pgbearer token`: prints a token, and nothing else, on stdout.
 *
 * @module
 */
import { TokenConfigError, messageOf } from '../errors.ts'
import { openGrants } from '../grants/grant-client.ts'
import { printable } from '../grants/printable.ts'
import { TokenProvider } from '../token/provider.ts'
import { tokenRequest } from '../token/request.ts'
import {
  type CommandStreams,
  type SourceFlags,
  exitCodeOf,
  keyOf,
  sourceConfigOf,
  sourceOf,
} from './command-options.ts'
import { RefreshTokenFile } from './refresh-token-file.ts'

/** Flags of `pgbearer token`. */
export interface TokenCommandOptions extends SourceFlags {
  /** `raw` (the default): the token and a newline. `json`: with its type and life. */
  readonly format?: 'raw' | 'json' | undefined
  /** Told to callbacks as the role. */
  readonly user?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Gets a token and prints it. Prompts and errors go to stderr. A terminal on stdout is refused, where
 * the token would stay on the screen, unless `force` is set.
 *
 * @returns the exit code: 0, 1 (it failed), 2 (wrong usage, or refused).
 */
export async function runTokenCommand(
  options: TokenCommandOptions,
  streams: CommandStreams = process,
): Promise<number> {
  return reported(streams, async () => {
    if (streams.stdout.isTTY === true && options.force !== true) {
      throw new TokenConfigError(
        'stdout is a terminal: the token would be shown (--force to do so)',
      )
    }
    const source = await sourceOf(options, streams)
    await using provider = new TokenProvider(source)
    const { issuer, clientId, scope, user: username, signal } = options
    const { credential } = await provider.get({ issuer, clientId, scope, username, signal })
    const { accessToken, expiresInMs } = credential
    const life = expiresInMs === undefined ? {} : { expires_in: Math.floor(expiresInMs / 1000) }
    const json = { access_token: accessToken, token_type: 'Bearer', ...life }
    streams.stdout.write(`${options.format === 'json' ? JSON.stringify(json) : accessToken}\n`)
  })
}

/**
 * `pgbearer token logout`: revokes the refresh token that is kept and forgets it. It is forgotten even
 * if the authorization server cannot be told.
 *
 * @returns the exit code.
 */
export async function runLogoutCommand(
  options: TokenCommandOptions,
  streams: CommandStreams = process,
): Promise<number> {
  return reported(streams, async () => {
    if (options.refreshTokenFile === undefined) {
      throw new TokenConfigError('no file of refresh tokens is named: none is kept')
    }
    const file = new RefreshTokenFile(options.refreshTokenFile)
    const refreshToken = await file.load(keyOf(options))
    if (refreshToken === undefined) {
      streams.stderr.write('not logged in\n')
      return
    }
    try {
      const { environment: _environment, ...grant } = await sourceConfigOf(options)
      const signal = options.signal ?? new AbortController().signal
      const grants = await openGrants(grant, tokenRequest({ signal }))
      await grants.revoke(refreshToken)
    } finally {
      await file.save(keyOf(options), undefined)
    }
  })
}

/** Runs a command; an error is one line on stderr and an exit code. */
export async function reported(
  streams: CommandStreams,
  run: () => Promise<number | void>,
): Promise<number> {
  try {
    return (await run()) ?? 0
  } catch (error) {
    streams.stderr.write(`pgbearer: ${printable(messageOf(error))}\n`)
    return exitCodeOf(error)
  }
}
