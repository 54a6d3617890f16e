/**
 * Tokens that somebody else has put somewhere.
 *
 * @module
 */
import fs from 'node:fs/promises'
import { TokenConfigError } from '../errors.ts'
import { MAX_BEARER_TOKEN_LENGTH } from '../token/bearer-token.ts'
import { TokenCallback, type TokenFunction } from '../token/callback.ts'
import { credential } from '../token/credential.ts'

/** A source: a callback like any other. None of them keeps a token between calls. */
export function machineSource(fn: TokenFunction<undefined>): TokenCallback<undefined> {
  return new TokenCallback(fn)
}

/** Always the same token. */
export function staticSource(accessToken: string): TokenCallback<undefined> {
  const given = credential(accessToken)
  return machineSource(() => given)
}

/** The token in an environment variable, such as a GitLab `id_tokens` variable. */
export function environmentSource(
  name: string,
  environment: NodeJS.ProcessEnv = process.env,
): TokenCallback<undefined> {
  return machineSource(() => {
    const value = environment[name]
    if (value === undefined) {
      throw new TokenConfigError(`environment variable ${name} is not set`)
    }
    return credential(trimmed(value, `environment variable ${name}`))
  })
}

export interface FileSourceOptions {
  /** Take a file that others may read, too. Default false. */
  readonly allowLoosePermissions?: boolean | undefined
}

/** The token in a file, read anew for every call: whoever renews it writes it there. */
export function fileSource(
  path: string,
  options: FileSourceOptions = {},
): TokenCallback<undefined> {
  return machineSource(async () => credential(await readTokenFile(path, options)))
}

/** Reads a token file: bounded, without its last newline, refused when others may read it. */
export async function readTokenFile(
  path: string,
  options: FileSourceOptions = {},
): Promise<string> {
  const file = await fs.open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new TokenConfigError(`could not open token file "${path}": ${error.code}`)
  })
  try {
    const { mode, size } = await file.stat()
    if (options.allowLoosePermissions !== true && (mode & 0o077) !== 0) {
      throw new TokenConfigError(
        `token file "${path}" can be read by group or others; permissions should be u=rw (0600) or less`,
      )
    }
    if (size > MAX_BEARER_TOKEN_LENGTH + 2) {
      throw new TokenConfigError(`token file "${path}" is too large`)
    }
    return trimmed(await file.readFile('utf8'), `token file "${path}"`)
  } finally {
    await file.close()
  }
}

function trimmed(text: string, where: string): string {
  const token = text.replace(/\r?\n$/, '')
  if (token === '') {
    throw new TokenConfigError(`${where} is empty`)
  }
  return token
}

/**
 * Where Kubernetes puts a token, by the variables that cloud providers' webhooks set. The token in the
 * default place is for the API server and that of a cloud for its token service: a database that is
 * sent one could use it there. Project a volume with an audience of its own and name its path.
 */
export function kubernetesTokenPath(environment: NodeJS.ProcessEnv = process.env): string {
  return (
    environment['AZURE_FEDERATED_TOKEN_FILE'] ??
    environment['AWS_WEB_IDENTITY_TOKEN_FILE'] ??
    '/var/run/secrets/kubernetes.io/serviceaccount/token'
  )
}

export interface KubernetesSourceOptions {
  /** The projected token. */
  readonly path?: string | undefined
  /**
   * Take the first of `AZURE_FEDERATED_TOKEN_FILE`, `AWS_WEB_IDENTITY_TOKEN_FILE` and the default path,
   * as MongoDB's drivers do. See {@link kubernetesTokenPath} for what that gives away.
   */
  readonly shared?: boolean | undefined
  readonly environment?: NodeJS.ProcessEnv | undefined
}

/** A projected service account token; the kubelet renews the file. */
export function kubernetesSource(options: KubernetesSourceOptions): TokenCallback<undefined> {
  const { path, shared = false, environment } = options
  if ((path === undefined) !== shared) {
    throw new TokenConfigError(
      'name the path of a projected token whose audience is this database, or set shared',
    )
  }
  return machineSource(async () => {
    const file = path ?? kubernetesTokenPath(environment)
    return credential(await readTokenFile(file, { allowLoosePermissions: true }))
  })
}
