/**
 * Where an included file lies (`conffiles.c: AbsoluteConfigLocation()`, `GetConfFilesInDir()`).
 *
 * @module
 */
import { readdirSync, statSync } from 'node:fs'
import { posix } from 'node:path'
import { type ByteString, fromBytes, toBytes } from '../byte-string.ts'

/** An absolute location as written, another one relative to the directory of the including file. */
export function configLocation(location: ByteString, includingFile: ByteString): ByteString {
  if (location.startsWith('/')) {
    return location
  }
  return canonical(`${posix.dirname(includingFile)}/${location}`)
}

/**
 * The files that `include_dir` reads: names of at least six bytes that end in `.conf` and do not
 * start with a dot, in byte order, without directories.
 *
 * @throws what `node:fs` throws; a name that cannot be looked at is in the error's `path`.
 */
export function configFilesIn(directory: ByteString): ByteString[] {
  return readdirSync(toBytes(directory), { encoding: 'buffer' })
    .map((name) => fromBytes(name))
    .filter((name) => name.length >= 6 && !name.startsWith('.') && name.endsWith('.conf'))
    .map((name) => canonical(`${directory}/${name}`))
    .sort()
    .filter((path) => !statSync(toBytes(path)).isDirectory())
}

function canonical(path: string): ByteString {
  const normal = posix.normalize(path)
  return (normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal) as ByteString
}
