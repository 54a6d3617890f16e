/**
 * Files that hold secrets.
 *
 * @module
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs'
import path from 'node:path'
import { systemErrorReport } from '../auth-file/system-error.ts'
import { noteFile } from './files-read.ts'

const { O_NONBLOCK, O_RDONLY } = constants

/** More than any password, key or users file needs. */
const MAX_SECRET_FILE_BYTES = 16 * 1024 * 1024

/**
 * Reads a secret.
 *
 * The rule is PostgreSQL's for `ssl_key_file` (`be-secure-common.c: check_ssl_key_file_permissions()`):
 * a regular file, owned by us and closed to group and others, or owned by root and at most readable by
 * the group. What was checked is what is read: the file is opened once.
 *
 * @throws Error in PostgreSQL's words where it is missing or open to others.
 */
export function readSecretFile(file: string): string {
  noteFile(path.resolve(file))
  // Non-blocking: opening a FIFO that nobody writes to would wait for ever.
  const descriptor = openSync(file, O_RDONLY | O_NONBLOCK)
  try {
    const problem = secretFileProblem(file, fstatSync(descriptor))
    if (problem !== undefined) {
      throw new Error(problem)
    }
    return readFileSync(descriptor, 'utf8')
  } finally {
    closeSync(descriptor)
  }
}

/** Why a file could not be read: our own words of {@link readSecretFile}, or PostgreSQL's of a system call. */
export function whyUnreadable(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException
  return errno === undefined ? message : systemErrorReport(error).text
}

function secretFileProblem(file: string, status: Stats): string | undefined {
  const us = process.getuid?.()
  if (!status.isFile() || status.size > MAX_SECRET_FILE_BYTES) {
    return `file "${file}" is not a regular file of a usable size`
  }
  if (us === undefined) {
    return undefined
  }
  if (status.uid !== us && status.uid !== 0) {
    return `file "${file}" must be owned by the user who runs pgbearer or by root`
  }
  const forbidden = status.uid === us && us !== 0 ? 0o077 : 0o027
  return (status.mode & forbidden) === 0 ? undefined : `file "${file}" has group or world access`
}
