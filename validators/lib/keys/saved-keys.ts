/**
 * The keys that an issuer published last, in a file: a process that starts while the issuer is down goes
 * on with them, for as long as a process that did not stop would have.
 *
 * Who can write this file can log in as anybody, so it is believed only where nobody else can: a regular
 * file of ours with mode 0600. It holds public keys and nothing else.
 *
 * @module
 */
import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ValidatorLog } from 'pgbearer/validator'
import { CLOCK } from '../clock.ts'
import { JsonError, type JsonObject, member, parseJsonObject } from '../json.ts'
import { SettingsError } from '../settings/parse-settings.ts'
import type { AdmittedKeys, VerificationKey } from './admit-keys.ts'

const VERSION = 1
const MAX_BYTES = 1024 * 1024
const LIMITS = { depth: 4, members: 4096, items: 64, string: 65_536 } as const
const OTHERS = 0o077
const OTHERS_WRITE = 0o022
const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants

/** Keys as they were when the issuer was last asked. */
export interface FoundKeys {
  /** A JWK Set. */
  readonly document: JsonObject
  /** Since the issuer was asked, by the wall clock. */
  readonly ageMs: number
}

export class SavedKeys {
  readonly #path: string
  readonly #name: string
  readonly #log: ValidatorLog
  #writing: Promise<void> = Promise.resolve()

  private constructor(directory: string, name: string, log: ValidatorLog) {
    this.#path = join(directory, `${name}.json`)
    this.#name = name
    this.#log = log
  }

  /**
   * @param name - of the issuer with everything that makes its keys other keys: what was saved under
   *   other settings is not found again
   * @throws {SettingsError} where others could put a file into the directory
   */
  static async in(directory: string, name: string, log: ValidatorLog): Promise<SavedKeys> {
    const problem = await problemOfDirectory(directory)
    if (problem !== undefined) {
      throw new SettingsError(`keys.persist: "${directory}" ${problem}`)
    }
    return new SavedKeys(directory, name, log)
  }

  /**
   * Writes what the issuer has published just now, in place of what was there. Never rejects: logins do
   * not depend on it.
   */
  save(keys: AdmittedKeys): Promise<void> {
    const content = JSON.stringify({
      version: VERSION,
      name: this.#name,
      savedAt: Math.floor(CLOCK.seconds()),
      keys: keys.keys.map(publicJwk),
    })
    this.#writing = this.#writing.then(() => this.#replace(content))
    return this.#writing
  }

  /** What cannot be replaced is removed: a key in it may be one that the issuer has just withdrawn. */
  async #replace(content: string): Promise<void> {
    try {
      await replaceFile(this.#path, content)
    } catch (error) {
      const removed = await rm(this.#path, { force: true }).then(
        () => 'there are none now',
        () => 'OLD ONES ARE STILL THERE',
      )
      this.#log.warning(`cannot save keys to "${this.#path}": ${codeOf(error)}; ${removed}`)
    }
  }

  /** When nothing is being written any more. */
  settled(): Promise<void> {
    return this.#writing
  }

  /** What was saved, if it can be believed and is not older than that; the log says why not. */
  async load(maxAgeMs: number): Promise<FoundKeys | undefined> {
    try {
      const document = parseJsonObject(await readOwnFile(this.#path), LIMITS)
      const savedAt = member(document, 'savedAt')
      const ageMs = (CLOCK.seconds() - Number(savedAt)) * 1_000
      if (member(document, 'version') !== VERSION || member(document, 'name') !== this.#name) {
        throw new UntrustedFileError('belongs to other settings')
      }
      if (!Number.isSafeInteger(savedAt) || !(ageMs >= 0 && ageMs < maxAgeMs)) {
        throw new UntrustedFileError('is too old')
      }
      return { document, ageMs }
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') {
        const problem = isOurs(error) ? error.message : codeOf(error)
        this.#log.warning(`saved keys are not used: "${this.#path}" ${problem}`)
      }
      return undefined
    }
  }
}

class UntrustedFileError extends Error {
  override readonly name = 'UntrustedFileError'
}

function isOurs(error: unknown): error is Error {
  return error instanceof UntrustedFileError || error instanceof JsonError
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error'
}

/** The algorithms are those of the policy, unless the key is for only one of them. */
function publicJwk({ kid, algorithms, key }: VerificationKey): object {
  const [alg, ...others] = algorithms
  return {
    ...key.export({ format: 'jwk' }),
    ...(kid === undefined ? {} : { kid }),
    ...(others.length === 0 ? { alg } : {}),
  }
}

/** What was checked is what is read: the file is opened once, and no link is followed. */
async function readOwnFile(path: string): Promise<Buffer> {
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const status = await file.stat()
    if (!status.isFile() || status.size > MAX_BYTES) {
      throw new UntrustedFileError('is not a regular file of a usable size')
    }
    if (status.uid !== process.getuid?.() || (status.mode & OTHERS) !== 0) {
      throw new UntrustedFileError('is not closed to others (mode 0600)')
    }
    return await file.readFile()
  } finally {
    await file.close()
  }
}

async function problemOfDirectory(directory: string): Promise<string | undefined> {
  const us = process.getuid?.()
  if (us === undefined) {
    return 'cannot be used: files have no owners on this system'
  }
  const status: Stats | undefined = await stat(directory).catch(() => undefined)
  if (status?.isDirectory() !== true) {
    return 'is not a directory'
  }
  const ours = status.uid === us || status.uid === 0
  return ours && (status.mode & OTHERS_WRITE) === 0
    ? undefined
    : 'must be a directory that nobody else can write to'
}

/** The whole of it or nothing, also where the machine stops half-way. */
async function replaceFile(path: string, content: string): Promise<void> {
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`
  try {
    const file = await open(temporary, 'wx', 0o600)
    await writeAndClose(file, content)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw error
  }
}

async function writeAndClose(file: FileHandle, content: string): Promise<void> {
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}
