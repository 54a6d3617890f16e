/**
 * Tokens from a program, like a Kubernetes exec credential.
 *
 * @module
 */
import { spawn } from 'node:child_process'
import { OAuthGrantError, TokenConfigError } from '../errors.ts'
import { MAX_BEARER_TOKEN_LENGTH } from '../token/bearer-token.ts'
import type { TokenCallback } from '../token/callback.ts'
import { type TokenCredential, credential } from '../token/credential.ts'
import type { TokenRequest } from '../token/request.ts'
import { machineSource } from './simple-sources.ts'

export interface ExternalCommandOptions {
  /** A program and its arguments; no shell looks at them. */
  readonly command: readonly [program: string, ...args: string[]]
  /** `json` (the default): an object with `access_token` and `expires_in`. `text`: the token alone. */
  readonly output?: 'json' | 'text' | undefined
}

const MAX_OUTPUT_LENGTH = 2 * MAX_BEARER_TOKEN_LENGTH

/**
 * Runs a program for every token. Its stderr is ours; its whole process group is killed when the call is
 * cancelled. It finds what is wanted in `PGBEARER_USER`, `PGBEARER_ISSUER`, `PGBEARER_SCOPE` and
 * `PGBEARER_REASON`.
 */
export function externalCommandSource(options: ExternalCommandOptions): TokenCallback<undefined> {
  const [program, ...args] = options.command
  if (typeof program !== 'string' || program === '') {
    throw new TokenConfigError('a command is required')
  }
  return machineSource(async (request) => {
    const output = await run(program, args, request)
    return options.output === 'text' ? credential(output.replace(/\r?\n$/, '')) : fromJson(output)
  })
}

function run(program: string, args: readonly string[], request: TokenRequest): Promise<string> {
  const { signal } = request
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...wishes(request) },
      shell: false,
      // A group of its own, so that what it starts can be killed, too.
      detached: process.platform !== 'win32',
    })
    const chunks: Buffer[] = []
    let size = 0
    const kill = (): void => killGroup(child.pid)
    const fail = (error: unknown): void => {
      kill()
      reject(error)
    }
    const stop = (): void => fail(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length
      chunks.push(chunk)
      if (size > MAX_OUTPUT_LENGTH) {
        fail(new OAuthGrantError(`token command ${program} wrote too much`))
      }
    })
    child.on('error', (error: NodeJS.ErrnoException) => {
      fail(new TokenConfigError(`could not run token command ${program}: ${error.code}`))
    })
    child.on('close', (code, killedBy) => {
      signal.removeEventListener('abort', stop)
      if (code === 0) {
        resolve(Buffer.concat(chunks).toString('utf8'))
        return
      }
      const how = code === null ? `was killed by ${killedBy}` : `exited with code ${code}`
      reject(new OAuthGrantError(`token command ${program} ${how}`))
    })
    if (signal.aborted) {
      stop()
    }
  })
}

function wishes(request: TokenRequest): Record<string, string> {
  const { username, issuer, scope, reason } = request
  return {
    PGBEARER_REASON: reason,
    ...(username === undefined ? {} : { PGBEARER_USER: username }),
    ...(issuer === undefined ? {} : { PGBEARER_ISSUER: issuer }),
    ...(scope === undefined ? {} : { PGBEARER_SCOPE: scope }),
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) {
    return
  }
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}

function fromJson(output: string): TokenCredential {
  let json: unknown
  try {
    json = JSON.parse(output)
  } catch {
    json = undefined
  }
  if (typeof json !== 'object' || json === null || !('access_token' in json)) {
    throw new OAuthGrantError('token command did not write a JSON object with an access_token')
  }
  const { access_token: token, expires_in: seconds } = json as Record<string, unknown>
  if (typeof token !== 'string' || (seconds !== undefined && typeof seconds !== 'number')) {
    throw new OAuthGrantError('token command wrote an access_token or expires_in of the wrong type')
  }
  const expiresInMs = seconds === undefined ? undefined : seconds * 1000
  return credential(token, { expiresInMs })
}
