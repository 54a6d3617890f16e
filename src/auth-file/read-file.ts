/**
 * The bytes of one authentication file.
 *
 * @module
 */
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { type ByteString, fromBytes, toBytes } from '../byte-string.ts'

/** The largest authentication file that is read; 100,000 rules have about 10 MB. */
export const MAX_AUTH_FILE_BYTES: number = 64 * 1024 * 1024

const PIECE_BYTES = 64 * 1024

/** A file, open for reading; never waits for a writer, so that a named pipe cannot hang a reload. */
export interface OpenFile {
  /** @throws what `node:fs` throws, EISDIR for a directory, EFBIG beyond the limit. */
  read(): ByteString
  close(): void
}

/** @throws what `node:fs` throws. */
export function openFile(path: ByteString): OpenFile {
  const fd = openSync(toBytes(path), constants.O_RDONLY | constants.O_NONBLOCK)
  return { read: () => readAll(fd), close: () => closeSync(fd) }
}

function readAll(fd: number): ByteString {
  const pieces: Buffer[] = []
  let total = 0
  for (;;) {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    const length = readSync(fd, piece)
    if (length === 0) {
      return fromBytes(Buffer.concat(pieces, total))
    }
    total += length
    if (total > MAX_AUTH_FILE_BYTES) {
      throw Object.assign(new Error('file too large'), { code: 'EFBIG' })
    }
    pieces.push(piece.subarray(0, length))
  }
}
