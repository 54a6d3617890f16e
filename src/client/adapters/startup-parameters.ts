/**
 * What a driver's StartupMessage says, as far as a token callback is told.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'

/** The role and the database of a complete StartupMessage; the last of two counts, as in the server. */
export function startupParameters(packet: Buffer): {
  readonly user: string | undefined
  readonly database: string | undefined
} {
  const words = packet.toString('utf8', 8).split('\0')
  const found = new Map<string, string>()
  for (let at = 0; at + 1 < words.length && words[at] !== ''; at += 2) {
    found.set(words[at] ?? '', words[at + 1] ?? '')
  }
  return { user: found.get('user'), database: found.get('database') }
}
