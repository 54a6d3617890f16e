/**
 * What the operating system said, in PostgreSQL's words (`%m`) and codes.
 *
 * @module
 */
import { getSystemErrorMap } from 'node:util'

// errcode_for_file_access() in elog.c, and the texts of glibc's strerror().
const FILE_ERRORS: Readonly<Record<string, readonly [sqlState: string, text: string]>> = {
  EACCES: ['42501', 'Permission denied'],
  EPERM: ['42501', 'Operation not permitted'],
  EROFS: ['42501', 'Read-only file system'],
  ENOENT: ['58P01', 'No such file or directory'],
  EEXIST: ['58P02', 'File exists'],
  ENOTDIR: ['42809', 'Not a directory'],
  EISDIR: ['42809', 'Is a directory'],
  ENOMEM: ['53200', 'Cannot allocate memory'],
  ENFILE: ['53000', 'Too many open files in system'],
  EMFILE: ['53000', 'Too many open files'],
  EFBIG: ['XX000', 'File too large'],
  EIO: ['58030', 'Input/output error'],
  ENAMETOOLONG: ['58P03', 'File name too long'],
  ELOOP: ['XX000', 'Too many levels of symbolic links'],
  EAGAIN: ['XX000', 'Resource temporarily unavailable'],
  ENXIO: ['XX000', 'No such device or address'],
}

/** SQLSTATE and text of a failed system call. */
export interface SystemErrorReport {
  readonly code: string
  readonly sqlState: string
  readonly text: string
}

/** PostgreSQL's report of what `node:fs` threw. */
export function systemErrorReport(error: unknown): SystemErrorReport {
  const { code = '', errno } = error as NodeJS.ErrnoException
  const [sqlState, text] = FILE_ERRORS[code] ?? ['XX000', undefined]
  const fallback = errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]
  return { code, sqlState, text: text ?? fallback ?? (code || 'unknown error') }
}
