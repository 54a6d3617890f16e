/**
 * Files that hold secrets.
 *
 * @module
 */
import { readFileSync, statSync } from 'node:fs'

/**
 * Why a file must not be trusted with a secret, in PostgreSQL's words; undefined where it may.
 *
 * The rule is PostgreSQL's for `ssl_key_file` (`be-secure-common.c: check_ssl_key_file_permissions()`):
 * owned by us and closed to group and others, or owned by root and at most readable by the group.
 */
export function secretFileProblem(file: string): string | undefined {
  const { mode, uid } = statSync(file)
  const us = process.getuid?.()
  if (us === undefined) {
    return undefined
  }
  if (uid !== us && uid !== 0) {
    return `file "${file}" must be owned by the user who runs pgbearer or by root`
  }
  const forbidden = uid === us && us !== 0 ? 0o077 : 0o027
  return (mode & forbidden) === 0 ? undefined : `file "${file}" has group or world access`
}

/** Reads a secret; throws where it is missing or open to others. */
export function readSecretFile(file: string): string {
  const text = readFileSync(file, 'utf8')
  const problem = secretFileProblem(file)
  if (problem !== undefined) {
    throw new Error(problem)
  }
  return text
}
