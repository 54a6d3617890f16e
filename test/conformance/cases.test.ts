/** Files written by hand: those of test/cases, and one for each known difference between 18 and 19. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

import { loadHbaFile } from '../../src/hba/load-hba-file.ts'
import { loadIdentFile } from '../../src/ident/load-ident-file.ts'
import { makeTestCertificates } from '../support/certificates.ts'
import { perFile } from '../support/per-file.ts'
import { HBA_DIFFERENCES, IDENT_DIFFERENCES, unexplained } from './known-differences.ts'
import { startRealRules } from './real-rules.ts'

const directory = fileURLToPath(new URL('../cases/', import.meta.url))
const filesWith = (extension: string): string[] =>
  readdirSync(directory).filter((name) => name.endsWith(extension))

const real = perFile(async () =>
  startRealRules({ oauth_validator_libraries: 'jwt' }, (await makeTestCertificates()).server),
)
const CONTEXT = { ssl: true, oauthValidatorLibraries: ['jwt'] }

describe('the cases in plain text', () => {
  test.each(filesWith('.rules'))('%s says to PostgreSQL what it says to us', async (name) => {
    real().write({ 'pg_hba.conf': readFileSync(join(directory, name), 'latin1') })
    const theirs = await real().hbaRules()
    const { rules } = loadHbaFile(real().hbaFile, CONTEXT)
    expect(theirs.length).toBeGreaterThan(5)
    expect(unexplained(theirs, rules, ({ ruleNumber }) => ruleNumber, HBA_DIFFERENCES)).toEqual([])
  })

  test.each(filesWith('.maps'))('%s says to PostgreSQL what it says to us', async (name) => {
    real().write({ 'pg_ident.conf': readFileSync(join(directory, name), 'latin1') })
    const theirs = await real().identMappings()
    const { mappings } = loadIdentFile(real().identFile)
    expect(theirs.length).toBeGreaterThan(5)
    expect(unexplained(theirs, mappings, ({ mapNumber }) => mapNumber, IDENT_DIFFERENCES)).toEqual(
      [],
    )
  })
})

describe('18 and 19 differ', () => {
  test.each([
    [
      'a carriage return in a line is a blank in 18',
      'local all\rall trust',
      null,
      'end-of-line before authentication method',
    ],
    [
      '18 has RADIUS',
      'local all all radius radiusservers=127.0.0.1 radiussecrets=x',
      null,
      'invalid authentication method "radius"',
    ],
    [
      '18 has no options for validators',
      'local all all oauth issuer=x scope=x validator.x=y',
      'unrecognized authentication option name: "validator.x"',
      null,
    ],
    [
      '19 has another text for a validator',
      'local all all oauth issuer=x scope=x validator=other',
      'validator "other" is not permitted by oauth_validator_libraries',
      'validator "other" is not permitted by "oauth_validator_libraries"',
    ],
  ])('%s', async (_, text, of18, of19) => {
    real().write({ 'pg_hba.conf': text })
    expect((await real().hbaRules()).map(({ error }) => error)).toEqual([of18])
    expect(loadHbaFile(real().hbaFile, CONTEXT).rules.map(({ error }) => error)).toEqual([of19])
  })
})

test('a directory in the place of a file is passed over by PostgreSQL and refused by us', async () => {
  real().write({ 'pg_hba.conf': 'local all all trust\ninclude base\n' })
  expect(await real().hbaRules()).toHaveLength(1)
  const { errors, rules } = loadHbaFile(real().hbaFile, CONTEXT)
  expect(rules).toHaveLength(1)
  expect(errors.map(({ message }) => message)).toEqual([
    expect.stringMatching(/^could not read file ".*\/base": Is a directory$/),
  ])
})
