/** `pgbearer check --expect`. */
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { runCli } from '../support/child-process.ts'
import { checkShape } from './json-shapes.ts'
import { type Configuration, configure, type Ran, runCheck, UPSTREAM } from './support.ts'

const SETTINGS = `oauth_validator_libraries = ["jwt"]
ssl = true
[validators.jwt]
audiences = ["https://db.example.com"]
[role_memberships]
staff = ["ann"]
${UPSTREAM}`

const RULES = `local all all trust
include more.conf
host app +staff 10.0.0.0/8 oauth issuer=https://issuer.invalid scope=db map=m
hostssl all carl all cert map=m
host all host.user db1.example.com trust
host all all all upstream
`

const MAP = 'm bob@example.com bob\nm /^(.*)@example\\.com$ \\1\n'

function configuration(expectations: string, rules = RULES): Configuration {
  return configure({
    'pgbearer.toml': SETTINGS,
    'pg_hba.conf': rules,
    'more.conf': '\nhost all mallory all reject\nhost replication all all reject\n',
    'pg_ident.conf': MAP,
    'expectations.toml': expectations,
  })
}

type CheckJson = z.infer<typeof checkShape>

async function expected(
  expectations: string,
  rules?: string,
): Promise<Ran & { json: CheckJson; configuration: Configuration }> {
  const made = configuration(expectations, rules)
  const options = {
    config: made.config,
    expect: made.path('expectations.toml'),
    withoutSecrets: true,
  }
  const text = await runCheck(options)
  const json = await runCheck({ ...options, json: true })
  expect(json.status).toBe(text.status)
  return { ...text, json: checkShape.parse(JSON.parse(json.stdout)), configuration: made }
}

/** The differences of the first expectation. */
async function differences(expectation: string): Promise<unknown> {
  const { json, status } = await expected(`[[expect]]\n${expectation}`)
  const found = json.expectations?.[0]?.differences
  expect(status).toBe(found?.length === 0 ? 0 : 1)
  return found
}

const ANN = 'user = "ann"\ndatabase = "app"\naddress = "10.1.2.3"\n'

describe('an expectation that is met', () => {
  test.each([
    ['the method', `${ANN}outcome = "oauth"`],
    ['the line of the main file', `${ANN}outcome = "oauth"\nline = 3`],
    ['the line of a named file', `${ANN}outcome = "oauth"\nline = "pg_hba.conf:3"`],
    [
      'who is accepted by which line of the map',
      `${ANN}outcome = "accepted"\nidentity = "ann@example.com"\nmap_line = 2`,
    ],
    [
      'who is refused and why',
      `${ANN}outcome = "refused"\nidentity = "eve@example.com"\nreason = "usermap_no_match"`,
    ],
    [
      'a line of an included file',
      'user = "mallory"\naddress = "::1"\noutcome = "reject"\nline = "more.conf:2"',
    ],
    [
      'physical replication',
      'user = "ann"\naddress = "::1"\nreplication = true\noutcome = "reject"\nline = "more.conf:3"',
    ],
    ['a Unix socket', 'user = "anybody"\noutcome = "accepted"\nline = 1'],
    ['what the server behind decides', 'user = "eve"\naddress = "::1"\noutcome = "upstream"'],
    [
      'a certificate',
      'user = "carl"\naddress = "::1"\ntls = true\nclient_cert_dn = "CN=carl@example.com"\noutcome = "accepted"',
    ],
    [
      'a missing certificate',
      'user = "carl"\naddress = "::1"\ntls = true\noutcome = "refused"\nreason = "no_client_certificate"',
    ],
    [
      'a host name',
      'user = "host.user"\naddress = "::1"\nhost_name = "DB1.example.com"\noutcome = "trust"\nline = 5',
    ],
    ['a client without a host name', 'user = "host.user"\naddress = "::1"\noutcome = "upstream"'],
  ])('may be about %s', async (_, expectation) => {
    expect(await differences(expectation)).toEqual([])
  })

  test('may be that no rule matches', async () => {
    const { status, stdout } = await expected(
      `[[expect]]\n${ANN}outcome = "no entry"\nreason = "no_hba_entry"\n[[expect]]\n${ANN}outcome = "refused"`,
      'local all all trust\n',
    )
    expect(status).toBe(0)
    expect(stdout).toContain('2 of 2 expectations are met')
  })
})

describe('an expectation that is not met', () => {
  test('is told with its file, line and name, what is expected, and the explanation', async () => {
    const { config, path } = configuration(`# who gets in
[[expect]]
${ANN}outcome = "oauth"

[[expect]]
name = "mallory gets in"
user = "mallory"
database = "app"
address = "10.1.2.3"
outcome = "accepted"
line = 3
`)
    const { status, stdout, stderr } = await runCli([
      'check',
      '-c',
      config,
      '--without-secrets',
      '--expect',
      path('expectations.toml'),
    ])
    expect(status).toBe(1)
    expect(stdout).toContain('1 of 2 expectations are met')
    const hba = path('pg_hba.conf')
    expect(stderr).toContain(
      `${path('expectations.toml')}:8: "mallory gets in" is not met: outcome: expected accepted, got refused; line: expected ${hba}:3, got ${path('more.conf')}:2`,
    )
    expect(stderr).toContain('    outcome: refused\n      reason: hba_reject (ERR_HBA_REJECT)')
  })

  test.each([
    ['outcome', `${ANN}outcome = "trust"`, 'trust', 'oauth'],
    ['outcome', `${ANN}outcome = "no entry"`, 'no entry', 'oauth'],
    ['outcome', `${ANN}outcome = "accepted"`, 'accepted', 'undecided (token_needed)'],
    ['outcome', `${ANN}outcome = "refused"`, 'refused', 'undecided (token_needed)'],
    ['outcome', `${ANN}identity = "eve"\noutcome = "accepted"`, 'accepted', 'refused'],
    [
      'outcome',
      'user = "eve"\naddress = "::1"\noutcome = "accepted"',
      'accepted',
      'undecided (server_behind_decides)',
    ],
    [
      'reason',
      `${ANN}identity = "eve"\noutcome = "oauth"\nreason = "expired"`,
      'expired',
      'usermap_no_match',
    ],
    ['reason', `${ANN}outcome = "oauth"\nreason = "expired"`, 'expired', 'no refusal'],
  ])('differs in %s: %#', async (field, expectation, wanted, got) => {
    expect(await differences(expectation)).toEqual([{ field, expected: wanted, got }])
  })

  test('differs in the line of the map', async () => {
    const text = `[[expect]]\n${ANN}identity = "ann@example.com"\noutcome = "accepted"\nmap_line = 1`
    const { json, configuration: made } = await expected(text)
    const ident = made.path('pg_ident.conf')
    expect(json.expectations?.[0]?.differences).toEqual([
      { field: 'map_line', expected: `${ident}:1`, got: `${ident}:2` },
    ])
    expect(json.ok).toBe(false)
    expect(json.expectations?.[0]?.explanation?.verdict).toBe('accepted')
  })

  test('may be about a connection that cannot be', async () => {
    expect(await differences('user = "ann"\naddress = "home"\noutcome = "oauth"')).toEqual([
      { field: 'question', expected: 'a connection', got: '"home" is not a numeric address' },
    ])
  })
})

describe('a file of expectations', () => {
  test.each([
    ['is not there', undefined, 'could not open file'],
    ['is not TOML', '[[expect]\n', ':1: '],
    ['is empty', '', '"expect": is required'],
    ['expects nothing', 'expect = []', '"expect": Too small'],
    [
      'has a name that there is not',
      '[[expect]]\nuser = "a"\noutcome = "oauth"\nadress = "::1"',
      ':1: unrecognized name "adress", perhaps you meant "address"',
    ],
    [
      'has a table that there is not',
      '[[expects]]\nuser = "a"',
      'unrecognized name "expects", perhaps you meant "expect"',
    ],
    ['lacks an outcome', '\n[[expect]]\nuser = "a"', ':2: "outcome"'],
    [
      'has an outcome that there is not',
      '[[expect]]\nuser = "a"\noutcome = "md5"',
      ':1: "outcome": Invalid option',
    ],
    [
      'has a line that is none',
      '[[expect]]\nuser = "a"\noutcome = "oauth"\nline = "three"',
      ':1: "line": must be a line number or "file:line"',
    ],
  ])('is an error where it %s', async (_, text, message) => {
    const made = configuration(text ?? '')
    const file = made.path(text === undefined ? 'gone.toml' : 'expectations.toml')
    const options = { config: made.config, expect: file, withoutSecrets: true }
    const { status, stderr } = await runCheck(options)
    expect(status).toBe(1)
    expect(stderr).toContain(file)
    expect(stderr).toContain(message)
    const json = await runCheck({ ...options, json: true })
    expect(checkShape.parse(JSON.parse(json.stdout))).toMatchObject({
      ok: false,
      expectations: null,
    })
  })

  test('is not asked while the rules are wrong, which is what fails', async () => {
    const { status, json, stderr } = await expected(
      `[[expect]]\n${ANN}outcome = "oauth"`,
      'local all\n',
    )
    expect(status).toBe(1)
    expect(json.expectations).toBeNull()
    expect(stderr).toContain('end-of-line before role specification')
  })
})
