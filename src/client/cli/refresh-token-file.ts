/**
 * Refresh tokens of a person, kept between runs in a file that nobody else can read, or not at all.
 *
 * @module
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { TokenConfigError } from '../errors.ts'
import { TokenCallback } from '../token/callback.ts'
import { type CredentialLike, credential } from '../token/credential.ts'
import { tokenRequest } from '../token/request.ts'

const VERSION = 1
const MAX_FILE_LENGTH = 1024 * 1024

const SCHEMA = z.strictObject({
  version: z.literal(VERSION),
  refresh_tokens: z.record(z.string(), z.string().min(1)),
})

/** One file; every change replaces it as a whole. */
export class RefreshTokenFile {
  readonly #path: string

  constructor(file: string) {
    this.#path = file
  }

  async load(key: string): Promise<string | undefined> {
    const tokens = await this.#read()
    return Object.hasOwn(tokens, key) ? tokens[key] : undefined
  }

  /** Keeps a token, or forgets it. The old one stays until the new one is on the disk. */
  async save(key: string, refreshToken: string | undefined): Promise<void> {
    const { [key]: _old, ...others } = await this.#read()
    const tokens = refreshToken === undefined ? others : { ...others, [key]: refreshToken }
    if (Object.keys(tokens).length === 0) {
      await fs.rm(this.#path, { force: true })
      return
    }
    await this.#write(JSON.stringify({ version: VERSION, refresh_tokens: tokens }))
  }

  async #write(text: string): Promise<void> {
    const directory = path.dirname(this.#path)
    await fs.mkdir(directory, { recursive: true, mode: 0o700 })
    const temporary = path.join(directory, `.${randomBytes(8).toString('hex')}.tmp`)
    try {
      const file = await fs.open(temporary, 'wx', 0o600)
      try {
        await file.writeFile(text)
        await file.sync()
      } finally {
        await file.close()
      }
      await fs.rename(temporary, this.#path)
    } catch (error) {
      await fs.rm(temporary, { force: true })
      throw error
    }
  }

  async #read(): Promise<Readonly<Record<string, string>>> {
    let file: fs.FileHandle
    try {
      file = await fs.open(this.#path, 'r')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        return {}
      }
      throw new TokenConfigError(`could not open "${this.#path}"`, { cause: error })
    }
    try {
      const { mode, size } = await file.stat()
      if ((mode & 0o077) !== 0) {
        throw new TokenConfigError(
          `"${this.#path}" can be read by group or others; permissions should be u=rw (0600)`,
        )
      }
      if (size > MAX_FILE_LENGTH) {
        throw new TokenConfigError(`"${this.#path}" is too large`)
      }
      return parse(await file.readFile('utf8'), this.#path)
    } finally {
      await file.close()
    }
  }
}

// No cause is kept: parsers quote what they could not read.
function parse(text: string, file: string): Readonly<Record<string, string>> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new TokenConfigError(`"${file}" is not a file of refresh tokens`)
  }
  const version = (json as { version?: unknown } | null)?.version
  if (typeof version === 'number' && version > VERSION) {
    throw new TokenConfigError(`"${file}" was written by a newer version`)
  }
  const result = SCHEMA.safeParse(json)
  if (!result.success) {
    throw new TokenConfigError(`"${file}" is not a file of refresh tokens`)
  }
  return result.data.refresh_tokens
}

/** A source that begins with the refresh token of an earlier run and keeps every new one. */
export function keepingRefreshTokens(
  source: TokenCallback<undefined>,
  file: RefreshTokenFile,
  key: string,
): TokenCallback<undefined> {
  const fn = async (request: Parameters<typeof source.fn>[0]): Promise<CredentialLike> => {
    const kept = request.refreshToken ?? (await file.load(key))
    const got = await source.fn(tokenRequest({ ...request, refreshToken: kept }))
    const { accessToken, expiresInMs, refreshToken } = got
    if (refreshToken !== kept) {
      await file.save(key, refreshToken)
    }
    return credential(accessToken, { expiresInMs, refreshToken })
  }
  return new TokenCallback<undefined>(fn, { interactive: source.interactive })
}
