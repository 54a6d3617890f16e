import { type LibpqProcess, startLibpq } from '../../src/demo/libpq.ts'
import { perFile } from './per-file.ts'

/** A process with the real libpq 18, for all tests of a file. */
export function withLibpq(env: Readonly<Record<string, string>> = {}): () => LibpqProcess {
  return perFile(() => startLibpq(env))
}
