/** The same rules for a real PostgreSQL 18 and for us: `pg_hba_file_rules`, row by row. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { loadHbaFile } from '../../src/hba/load-hba-file.ts'
import { makeTestCertificates } from '../support/certificates.ts'
import { perFile } from '../support/per-file.ts'
import { hbaFiles } from './generated-files.ts'
import { HBA_DIFFERENCES, unexplained } from './known-differences.ts'
import { type Files, type RealRules, startRealRules } from './real-rules.ts'
import { RUNS, SEED, TIMEOUT } from './runs.ts'

interface Setting {
  readonly ssl: boolean
  readonly libraries: readonly string[]
  readonly share: number
}

const SETTINGS: readonly Setting[] = [
  { ssl: true, libraries: ['one', 'two'], share: 0.5 },
  { ssl: true, libraries: ['one'], share: 0.3 },
  { ssl: false, libraries: [], share: 0.2 },
]

async function differences(
  real: RealRules,
  files: Files,
  { ssl, libraries }: Setting,
): Promise<unknown[]> {
  real.write(files)
  const theirs = await real.hbaRules()
  const { rules } = loadHbaFile(real.hbaFile, { ssl, oauthValidatorLibraries: libraries })
  return unexplained(theirs, rules, ({ ruleNumber }) => ruleNumber, HBA_DIFFERENCES)
}

describe.each(SETTINGS)('with ssl=$ssl and the validators $libraries', (setting) => {
  const real = perFile(async () => {
    const certificates = await makeTestCertificates()
    const settings = { oauth_validator_libraries: setting.libraries.join(',') }
    return await startRealRules(settings, setting.ssl ? certificates.server : undefined)
  })

  test(
    'reads generated rules as PostgreSQL does',
    async () => {
      await fc.assert(
        fc.asyncProperty(hbaFiles, async (files) => {
          expect(await differences(real(), files, setting)).toEqual([])
        }),
        { numRuns: Math.ceil(RUNS * setting.share), seed: SEED },
      )
    },
    TIMEOUT,
  )
})
