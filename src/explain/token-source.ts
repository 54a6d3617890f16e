/**
 * A token from a file or from standard input; never from an argument, which every user of the machine can read.
 *
 * @module
 */
import { createReadStream } from 'node:fs'
import { MAX_AUTH_TOKEN_LENGTH } from '../protocol/limits.ts'

/** `-` is standard input. */
export const STANDARD_INPUT = '-'

/** A token could not be read. Nothing of what was read is in the message. */
export class TokenFileError extends Error {
  readonly code = 'ERR_TOKEN_FILE'
  override readonly name = 'TokenFileError'
}

/**
 * Reads a token; white space around it belongs to the file.
 *
 * @param file - a path, or `-`.
 * @throws TokenFileError where there is none, or more than a message can carry.
 */
export async function readToken(file: string): Promise<string> {
  const stream = file === STANDARD_INPUT ? process.stdin : createReadStream(file)
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > MAX_AUTH_TOKEN_LENGTH) {
        throw new TokenFileError(`${named(file)} holds more than any token can`)
      }
      chunks.push(chunk)
    }
  } catch (error) {
    throw error instanceof TokenFileError
      ? error
      : new TokenFileError(`could not read ${named(file)}: ${(error as Error).message}`)
  }
  const token = Buffer.concat(chunks).toString('utf8').trim()
  if (token === '') {
    throw new TokenFileError(`there is no token in ${named(file)}`)
  }
  return token
}

function named(file: string): string {
  return file === STANDARD_INPUT ? 'standard input' : `file "${file}"`
}
