/** The same maps for a real PostgreSQL 18 and for us: `pg_ident_file_mappings`, row by row. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { loadIdentFile } from '../../src/ident/load-ident-file.ts'
import { perFile } from '../support/per-file.ts'
import { identFiles } from './generated-files.ts'
import { IDENT_DIFFERENCES, unexplained } from './known-differences.ts'
import { startRealRules } from './real-rules.ts'
import { RUNS, SEED, TIMEOUT } from './runs.ts'

const real = perFile(() => startRealRules())

test(
  'reads generated maps as PostgreSQL does',
  async () => {
    await fc.assert(
      fc.asyncProperty(identFiles, async (files) => {
        real().write(files)
        const theirs = await real().identMappings()
        const { mappings } = loadIdentFile(real().identFile)
        expect(
          unexplained(theirs, mappings, ({ mapNumber }) => mapNumber, IDENT_DIFFERENCES),
        ).toEqual([])
      }),
      { numRuns: RUNS, seed: SEED },
    )
  },
  TIMEOUT,
)
