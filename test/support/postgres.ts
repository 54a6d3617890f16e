import { inject } from 'vitest'

import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/demo/embedded-postgres.ts'
import { fillPostgresTemplate } from '../../src/demo/postgres-template.ts'
import { perFile } from './per-file.ts'

/** A real PostgreSQL 18 as a copy of one data directory per run: there in about 150 ms. */
export async function startPostgres(
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  const template = inject('postgresTemplate')
  await fillPostgresTemplate(template)
  return await startEmbeddedPostgres({ template, ...options })
}

/** One for all tests of a file. @returns a function that gives it to a test. */
export function withPostgres(options: EmbeddedPostgresOptions = {}): () => EmbeddedPostgres {
  return perFile(() => startPostgres(options))
}
