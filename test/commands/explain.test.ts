/** `pgbearer explain`. */
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import type { ExplainOptions } from '../../src/commands/explain.ts'
import { runCli } from '../support/child-process.ts'
import { fixtureValidator } from '../support/oauth-proxy.ts'
import { withTokenIssuer } from '../support/token-issuer.ts'
import { explainFailureShape, explanationShape } from './json-shapes.ts'
import { type Configuration, configure, type Ran, runExplain, UPSTREAM } from './support.ts'

const issuer = withTokenIssuer()

const HTTP = 'http = { egress = "any", dangerously_allow_http = true }'

/** Rules around the issuer; `OAUTH` stands for the method and what it needs. */
function configuration({
  hba,
  ident = '',
  settings = '',
}: {
  hba: string
  ident?: string
  settings?: string
}): Configuration {
  return configure({
    'pgbearer.toml': `oauth_validator_libraries = ["jwt"]
log_connections = ["authentication"]
${settings}
[validators.jwt]
audiences = ["https://db.example.com"]
${HTTP}
${UPSTREAM}`,
    'pg_hba.conf': hba.replaceAll('OAUTH', `oauth issuer=${issuer().issuer} scope=db`),
    'pg_ident.conf': ident,
  })
}

/** The same with a validator of test/fixtures. */
function withFixture(name: string, options = ''): Configuration {
  return configure({
    'pgbearer.toml': `oauth_validator_libraries = [${JSON.stringify(fixtureValidator(name))}]\n${UPSTREAM}`,
    'pg_hba.conf': `local all all oauth issuer=https://i.invalid scope=s ${options}\n`,
  })
}

type ExplanationJson = z.infer<typeof explanationShape>

/** Both forms, which must agree; no part of the token is in either. */
async function explained(
  options: ExplainOptions,
  token?: string,
): Promise<Ran & { json: ExplanationJson; text: string }> {
  const text = await runExplain(options)
  const json = await runExplain({ ...options, json: true })
  expect(json.status).toBe(text.status)
  expect({ text: text.stderr, json: json.stderr }).toEqual({ text: '', json: '' })
  if (token !== undefined) {
    expectNoPart(token, text.stdout + json.stdout)
  }
  return { ...json, text: text.stdout, json: explanationShape.parse(JSON.parse(json.stdout)) }
}

/** Ten characters in a row of what is not in every token. */
function expectNoPart(token: string, written: string): void {
  for (const segment of token.split('.')) {
    for (let at = 24; at + 10 <= segment.length; at += 1) {
      expect(written).not.toContain(segment.slice(at, at + 10))
    }
  }
}

const ANN = { user: 'alice', database: 'app', address: '10.1.2.3' }

describe('the rules', () => {
  const RULES = `local all all trust
hostssl all all all trust
host all all 192.168.0.0/16 trust
host other all all trust
host all bob all trust
host all all all OAUTH
host all all all reject
`

  test('are named with the first field that does not match, up to the one that does', async () => {
    const { config, path } = configuration({ hba: RULES })
    const { json, text, status } = await explained({ config, ...ANN })
    expect(json.rules.map((rule) => [rule.line_number, rule.mismatch])).toEqual([
      [1, 'type'],
      [2, 'tls'],
      [3, 'address'],
      [4, 'database'],
      [5, 'user'],
      [6, null],
    ])
    expect(json.rules.at(-1)).toMatchObject({
      file_name: path('pg_hba.conf'),
      matches: true,
      auth_method: 'oauth',
    })
    expect(text).toContain(`${path('pg_hba.conf')}:3`)
    expect(text).toContain('no: type (encryption)')
    expect(json).toMatchObject({ verdict: 'undecided', undecided: 'token_needed', maps: [] })
    expect(json.validator).toMatchObject({ name: 'jwt', answer: null, assumed: false })
    expect(status).toBe(1)
  })

  test('may match nobody, which refuses as the log and the client see it', async () => {
    const { config } = configuration({ hba: 'local all all trust\n' })
    const { json, text, status } = await explained({ config, ...ANN })
    const message =
      'no pg_hba.conf entry for host "10.1.2.3", user "alice", database "app", no encryption'
    expect(status).toBe(2)
    expect(json.rules).toMatchObject([{ matches: false, mismatch: 'type' }])
    expect(json.outcome).toEqual({
      code: 'ERR_HBA_NO_ENTRY',
      reason: 'no_hba_entry',
      client: { severity: 'FATAL', sql_state: '28000', message, detail: null, hint: null },
      log: [
        {
          level: 'fatal',
          msg: message,
          code: 'ERR_HBA_NO_ENTRY',
          reason: 'no_hba_entry',
          sqlState: '28000',
        },
      ],
    })
    expect(text).toContain('No rule matches.')
    expect(text).toContain(`client reads: FATAL:  ${message} (28000)`)
  })

  test('refuse by reject, over a Unix socket without an address', async () => {
    const { config, path } = configuration({ hba: 'local all all reject\n' })
    const { json, status } = await explained({ config, user: 'ann' })
    expect(status).toBe(2)
    expect(json.connection).toEqual({
      user: 'ann',
      database: 'ann',
      address: null,
      tls: false,
      physical_replication: false,
      client_cert_dn: null,
    })
    expect(json.outcome).toMatchObject({ code: 'ERR_HBA_REJECT', reason: 'hba_reject' })
    expect(json.outcome.log[0]).toMatchObject({
      detail: `Connection matched file "${path('pg_hba.conf')}" line 1: "local all all reject"`,
      hba: { file: path('pg_hba.conf'), line: 1 },
    })
  })

  test('let in by trust', async () => {
    const { config } = configuration({ hba: 'host all all all trust\n' })
    const { json, status } = await explained({ config, ...ANN })
    expect(status).toBe(0)
    expect(json).toMatchObject({ verdict: 'accepted', validator: null, maps: [] })
    expect(json.outcome).toEqual({ code: null, reason: null, client: null, log: [] })
  })

  test('leave the decision to the server behind by upstream', async () => {
    const { config } = configuration({ hba: 'host all all all upstream\n' })
    const { json, text, status } = await explained({ config, ...ANN })
    expect(status).toBe(1)
    expect(json).toMatchObject({ verdict: 'undecided', undecided: 'server_behind_decides' })
    expect(text).toContain('outcome: undecided: the server behind')
  })

  test('see physical replication, and a replication session in a database, as two things', async () => {
    const { config } = configuration({
      hba: 'host replication all all reject\nhost all all all trust\n',
    })
    const physical = await explained({ config, ...ANN, replication: true })
    expect(physical.json.connection).toMatchObject({ database: '', physical_replication: true })
    expect(physical.status).toBe(2)
    expect(physical.json.outcome.client?.message).toContain('rejects replication connection')
    expect((await explained({ config, ...ANN, replication: 'database' })).status).toBe(0)
  })

  test('see an IPv4-mapped address as IPv4', async () => {
    const { config } = configuration({ hba: 'host all all 10.0.0.0/8 trust\n' })
    const { json, status } = await explained({ config, ...ANN, address: '::ffff:10.1.2.3' })
    expect(status).toBe(0)
    expect(json.connection.address).toBe('10.1.2.3')
  })

  test('see names cut as PostgreSQL cuts them', async () => {
    const { config } = configuration({ hba: `host all ${'a'.repeat(63)} all trust\n` })
    expect((await explained({ config, ...ANN, user: 'a'.repeat(70) })).status).toBe(0)
  })
})

describe('a token', () => {
  const RULES = 'host app all all OAUTH\nhost mapped all all OAUTH map=m\n'
  const MAP = 'm /^nobody$ \\1\nm carol carol\nm alice bob\nm alice admin\n'

  async function presented(
    token: string,
    question: Partial<ExplainOptions> = {},
    files: Parameters<typeof configuration>[0] = { hba: RULES, ident: MAP },
  ): ReturnType<typeof explained> {
    const { config, write } = configuration(files)
    const tokenFile = write('token', `${token}\n`)
    return explained({ config, ...ANN, tokenFile, ...question }, token)
  }

  test('that is good for the role is accepted', async () => {
    const exp = Math.floor(Date.now() / 1000) + 300
    const { json, text, status } = await presented(await issuer().mintToken({ exp }))
    expect(status).toBe(0)
    expect(json.verdict).toBe('accepted')
    expect(json.validator).toMatchObject({
      answer: 'authorized',
      authn_id: 'alice',
      expires_at: exp,
      assumed: false,
    })
    expect(json.maps).toMatchObject([{ kind: 'identity', map_name: null, matches: true }])
    expect(json.outcome.log.map(({ msg }) => msg)).toEqual([
      expect.stringMatching(/^connection authenticated: identity="alice" method=oauth \(.*:1\)$/),
    ])
    expect(text).toContain(`expires ${new Date(exp * 1000).toISOString()}`)
    expect(text).toContain('outcome: accepted')
  })

  test('is looked up in the map line by line', async () => {
    const { config, path, write } = configuration({
      hba: RULES,
      ident: 'm carol carol\nother alice admin\nm alice bob\nm alice admin\nm alice admin\n',
    })
    const token = await issuer().mintToken()
    const question = { ...ANN, database: 'mapped', user: 'admin', tokenFile: write('t', token) }
    const { json, text, status } = await explained({ config, ...question }, token)
    expect(status).toBe(0)
    expect(json.maps).toHaveLength(1)
    expect(json.maps[0]).toMatchObject({ map_name: 'm', name: 'alice', matches: true })
    expect(json.maps[0]?.lines.map((line) => [line.line_number, line.mismatch])).toEqual([
      [1, 'system-username'],
      [3, 'pg-username'],
      [4, null],
    ])
    expect(text).toContain(`${path('pg_ident.conf')}:3`)
  })

  const NOW = Math.floor(Date.now() / 1000)

  const refusals: readonly [
    reason: string,
    Parameters<ReturnType<typeof issuer>['mintToken']>[0],
    Partial<ExplainOptions>,
  ][] = [
    ['expired', { iat: NOW - 900, exp: NOW - 600 }, {}],
    ['not_yet_valid', { nbf: NOW + 3600, exp: NOW + 7200 }, {}],
    ['wrong_audience', { aud: 'https://other.example.com' }, {}],
    ['unknown_issuer', { iss: 'https://evil.example' }, {}],
    ['insufficient_scope', { scope: 'mail' }, {}],
    ['missing_claim', { exp: undefined }, {}],
    ['identity_invalid', { sub: undefined }, {}],
    ['usermap_mismatch', {}, { user: 'bob' }],
    ['usermap_no_match', {}, { user: 'carol', database: 'mapped' }],
    ['usermap_regex_error', { sub: 'nobody' }, { database: 'mapped' }],
  ]

  test.each(refusals)(
    'is refused with the reason of the log: %s',
    async (reason, claims, question) => {
      const { json, text, status } = await presented(await issuer().mintToken(claims), question)
      expect(status).toBe(2)
      expect(json).toMatchObject({ verdict: 'refused', undecided: null })
      const user = question.user ?? ANN.user
      expect(json.outcome).toMatchObject({
        code: 'ERR_OAUTH_AUTHENTICATION',
        reason,
        client: {
          sql_state: '28000',
          message: `OAuth bearer authentication failed for user "${user}"`,
          detail: null,
        },
      })
      const refusal = json.outcome.log.at(-1)
      expect(refusal).toMatchObject({ level: 'fatal', reason, code: 'ERR_OAUTH_AUTHENTICATION' })
      expect(refusal?.detail).toContain('Connection matched file')
      expect(text).toContain(`reason: ${reason} (ERR_OAUTH_AUTHENTICATION)`)
    },
  )

  test("is refused where its signature is another token's", async () => {
    const token = await issuer().mintToken()
    const [header, payload] = token.split('.')
    const other = (await issuer().mintToken({ sub: 'bob' })).split('.')[2]
    const { json, status } = await presented(`${header}.${payload}.${other}`)
    expect(status).toBe(2)
    expect(json.outcome.reason).toBe('bad_signature')
  })

  test.each([
    ['token_malformed', 'two words of a sentence that is no token'],
    ['malformed', 'no-json-web-token-at-all-but-well-formed'],
    ['ERR_PROTOCOL_VIOLATION', 'ein-Schlüssel-der-keiner-ist-und-nicht-passt'],
  ])('is refused where it is none: %s', async (reason, token) => {
    const { json, status } = await presented(token)
    expect(status).toBe(2)
    expect(json.outcome.reason ?? json.outcome.code).toBe(reason)
  })

  test('is refused where no message can carry it', async () => {
    const { json, status } = await presented('a'.repeat(65_520))
    expect(status).toBe(2)
    expect(json.outcome.reason).toBe('malformed_message')
  })

  test('may come in a password, and is refused in the words for passwords', async () => {
    const files = { hba: 'local all all OAUTH token_in_password=1\n' }
    const local = { address: undefined } as Partial<ExplainOptions>
    const good = await presented(await issuer().mintToken(), local, files)
    expect(good.status).toBe(0)
    const bad = await presented(await issuer().mintToken({ sub: 'bob' }), local, files)
    expect(bad.status).toBe(2)
    expect(bad.json.outcome).toMatchObject({
      code: 'ERR_PASSWORD_AUTHENTICATION',
      reason: 'usermap_mismatch',
      client: { sql_state: '28P01' },
    })
  })

  test('is not shown to a module that would not look at the role it grants', async () => {
    const token = await issuer().mintToken()
    const { config, path, write } = configuration({
      hba: 'host all all all OAUTH delegate_ident_mapping=1\n',
    })
    const tokenFile = write('token', `${token}\n`)
    const { status, stdout, stderr } = await runExplain({ config, ...ANN, tokenFile })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain(
      `${path('pg_hba.conf')}:1: the rule has delegate_ident_mapping=1, but authorization.mode is "identity"`,
    )
  })

  test('comes by standard input as well, and no part of it is printed', async () => {
    const { config } = configuration({ hba: RULES })
    const token = await issuer().mintToken({ sub: 'bob' })
    const { status, stdout, stderr } = await runCli(
      [
        'explain',
        '-c',
        config,
        '--user',
        'alice',
        '--database',
        'app',
        '--address',
        '10.1.2.3',
      ].concat('--token-file', '-', '--json'),
      { input: `  ${token}\r\n` },
    )
    expect({ status, stderr }).toEqual({ status: 2, stderr: '' })
    expect(explanationShape.parse(JSON.parse(stdout)).outcome.reason).toBe('usermap_mismatch')
    expectNoPart(token, stdout)
  })
})

describe('there is no answer', () => {
  test('while the provider is down, and the client would be refused', async () => {
    const { config, write } = configuration({ hba: 'host all all all OAUTH\n' })
    const token = await issuer().mintToken()
    issuer().behave('fail')
    try {
      const { json, text, status } = await explained(
        { config, ...ANN, tokenFile: write('token', token) },
        token,
      )
      expect(status).toBe(1)
      expect(json).toMatchObject({ verdict: 'undecided', undecided: 'validator_failed' })
      expect(json.validator).toMatchObject({
        answer: 'internal_error',
        code: 'provider_unavailable',
      })
      expect(json.validator?.detail).toContain('provider_unavailable')
      expect(json.outcome).toMatchObject({
        code: 'ERR_OAUTH_AUTHENTICATION',
        reason: 'provider_unavailable',
        client: { message: 'OAuth bearer authentication failed for user "alice"' },
      })
      expect(text).toContain('outcome: undecided: the validator could not answer')
    } finally {
      issuer().behave('well')
    }
  })

  test('by authentication_timeout where the provider says nothing', async () => {
    const { config, write } = configuration({
      hba: 'host all all all OAUTH\n',
      settings: 'authentication_timeout = "1s"',
    })
    const token = await issuer().mintToken()
    issuer().behave('hang')
    try {
      const { status, stdout } = await runExplain({
        config,
        ...ANN,
        tokenFile: write('token', token),
        json: true,
      })
      expect(status).toBe(1)
      expect(explanationShape.parse(JSON.parse(stdout)).outcome.reason).toBe('validator_timeout')
    } finally {
      issuer().behave('well')
    }
  })

  test.each([
    ['returns-false', 'validator_returned_false'],
    ['returns-true', 'validator_bad_result'],
    ['throws-in-validate', 'validator_threw'],
    ['throws-in-startup', 'validator_fault'],
    ['throws-the-token', 'validator_threw'],
    ['token-as-identity', 'validator_bad_authn_id'],
    ['huge-authn-id', 'validator_bad_authn_id'],
  ])('from a module that fails: %s', async (name, reason) => {
    const { config, write } = withFixture(name)
    const token = await issuer().mintToken()
    const { json, status } = await explained(
      { config, user: 'alice', tokenFile: write('token', token) },
      token,
    )
    expect(status).toBe(1)
    expect(json).toMatchObject({ verdict: 'undecided', undecided: 'validator_failed' })
    expect(json.outcome.reason).toBe(reason)
  })

  test('with a bad configuration, whose errors are all told', async () => {
    const { config, path } = configuration({ hba: 'host all\nlocal all\n', ident: 'm\n' })
    const { status, stdout, stderr } = await runExplain({ config, ...ANN })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr.trim().split('\n')).toEqual([
      `${path('pg_hba.conf')}:1: end-of-line before role specification`,
      `${path('pg_hba.conf')}:2: end-of-line before role specification`,
      `${path('pg_ident.conf')}:1: missing entry at end of line`,
    ])
    const json = await runExplain({ config, ...ANN, json: true })
    expect(json).toMatchObject({ status: 1, stderr: '' })
    expect(explainFailureShape.parse(JSON.parse(json.stdout)).errors).toHaveLength(3)
  })

  test.each<[string, Partial<ExplainOptions>, string]>([
    ['an address that is a name', { address: 'localhost' }, '"localhost" is not a numeric address'],
    ['TLS while ssl is off', { tls: true }, '"ssl" is off'],
    ['TLS on a Unix socket', { tls: true, address: undefined }, 'Unix socket has no TLS'],
    ['a certificate without TLS', { clientCertDn: 'CN=ann' }, 'only a connection with TLS'],
    ['no user', { user: '' }, 'no PostgreSQL user name specified in startup packet'],
    ['a user with a NUL', { user: 'a\0b' }, 'cannot hold a NUL'],
    ['an impossible replication', { replication: 'maybe' }, 'invalid value for parameter'],
    ['a token and an identity', { tokenFile: 'x', identity: 'ann' }, 'not both'],
    ['a token file that is not there', { tokenFile: '/nowhere/token' }, 'could not read file'],
  ])('to a question about %s', async (_, question, text) => {
    const { config } = configuration({ hba: 'host all all all trust\n' })
    const { status, stdout, stderr } = await runExplain({ config, ...ANN, ...question })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain(text)
  })

  test('to a question about an empty token file', async () => {
    const { config, write } = configuration({ hba: 'host all all all trust\n' })
    const tokenFile = write('token', '\n')
    const { status, stderr } = await runExplain({ config, ...ANN, tokenFile })
    expect(status).toBe(1)
    expect(stderr).toContain('there is no token in file')
  })

  test('without a user, which is wrong usage', async () => {
    expect((await runCli(['explain'])).status).toBe(2)
  })
})

describe('an identity in place of a token', () => {
  test('is mapped, and nobody is asked for keys', async () => {
    const { config } = configuration({
      hba: 'host all all all OAUTH map=m\n',
      ident: 'm /^(.*)@example\\.com$ \\1\n',
    })
    const asked = issuer().requests.length
    const { json, text, status } = await explained({
      config,
      ...ANN,
      identity: 'alice@example.com',
    })
    expect(status).toBe(0)
    expect(json.validator).toMatchObject({ answer: 'authorized', assumed: true })
    expect(text).toContain('as the question assumes')
    expect(issuer().requests).toHaveLength(asked)
    const other = await explained({ config, ...ANN, identity: 'alice@example.org' })
    expect(other.status).toBe(2)
    expect(other.json.outcome.reason).toBe('usermap_no_match')
  })

  test('that is empty lets in nobody without delegation', async () => {
    const { config } = configuration({ hba: 'host all all all OAUTH\n' })
    const { json, status } = await explained({ config, ...ANN, identity: '' })
    expect(status).toBe(2)
    expect(json.outcome.reason).toBe('no_identity')
  })

  test('needs no map under delegation', async () => {
    const hba = 'host all all all OAUTH delegate_ident_mapping=1 validator.role_claim=/roles\n'
    const { config } = configuration({ hba })
    const { json, status } = await explained({ config, ...ANN, identity: 'anybody' })
    expect(status).toBe(0)
    expect(json).toMatchObject({ verdict: 'accepted', maps: [] })
  })
})

describe('a client certificate', () => {
  const question = { ...ANN, tls: true }
  const certificateRules = (hba: string): Configuration =>
    configuration({ hba, ident: 'm "CN=alice,O=Example" alice\n', settings: 'ssl = true' })

  test('is asked for by the rule', async () => {
    const { config } = certificateRules('hostssl all all all trust clientcert=verify-ca\n')
    const without = await explained({ config, ...question })
    expect(without.status).toBe(2)
    expect(without.json.outcome).toMatchObject({
      code: 'ERR_INVALID_AUTHORIZATION',
      reason: 'no_client_certificate',
      client: { message: 'connection requires a valid client certificate' },
    })
    expect((await explained({ config, ...question, clientCertDn: 'CN=x' })).status).toBe(0)
  })

  test('has a name that is the role, or is mapped to it', async () => {
    const byName = certificateRules('hostssl all all all cert\n')
    const named = await explained({
      config: byName.config,
      ...question,
      clientCertDn: 'OU=a\\,b,CN=alice,O=Example',
    })
    expect(named.status).toBe(0)
    expect(named.json.maps).toMatchObject([{ kind: 'certificate', name: 'alice', matches: true }])
    const { config } = certificateRules('hostssl all all all cert clientname=DN map=m\n')
    const mapped = await explained({ config, ...question, clientCertDn: 'CN=alice,O=Example' })
    expect(mapped.status).toBe(0)
    const refused = await explained({ config, ...question, clientCertDn: 'CN=alice,O=Other' })
    expect(refused.status).toBe(2)
    expect(refused.json.maps).toMatchObject([
      { kind: 'certificate', map_name: 'm', matches: false, reason: 'usermap_no_match' },
    ])
    expect(refused.json.outcome.reason).toBe('certificate_mismatch')
  })

  test('is looked at after the token', async () => {
    const { config } = certificateRules('hostssl all all all OAUTH clientcert=verify-full\n')
    const asked = { config, ...question, identity: 'alice' }
    expect((await explained({ ...asked, clientCertDn: 'CN=alice' })).status).toBe(0)
    const { json, status } = await explained({ ...asked, clientCertDn: 'CN=bob' })
    expect(status).toBe(2)
    expect(json.maps.map(({ kind, matches }) => [kind, matches])).toEqual([
      ['identity', true],
      ['certificate', false],
    ])
    expect(json.outcome.reason).toBe('certificate_mismatch')
  })
})

describe('what the log says', () => {
  test('is without the values for a validator, however the rule quotes them', async () => {
    const { config } = withFixture('with-options', '"validator".tenant=s3cret-tenant')
    const { json, text, stdout } = await explained({ config, user: 'bob', identity: 'alice' })
    expect(json.outcome.reason).toBe('usermap_mismatch')
    expect(text + stdout).not.toContain('s3cret-tenant')
  })

  test('has no control character of a name', async () => {
    const { config } = configuration({ hba: 'host all all all reject\n' })
    const question = { config, ...ANN, user: 'a\u001b[31m\u0085\u202eb' }
    for (const json of [false, true]) {
      const { stdout } = await runExplain({ ...question, json })
      expect(stdout).toContain('\\u001b[31m')
      expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
    }
  })
})
