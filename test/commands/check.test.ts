/** `pgbearer check`. */
import { describe, expect, test } from 'vitest'
import { runCli } from '../support/child-process.ts'
import { withCertificates } from '../support/certificates.ts'
import { fixtureValidator } from '../support/oauth-proxy.ts'
import { withTokenIssuer } from '../support/token-issuer.ts'
import { checkShape } from './json-shapes.ts'
import { type Configuration, configure, runCheck, UPSTREAM } from './support.ts'

const JWT = `
oauth_validator_libraries = ["jwt"]
[validators.jwt]
audiences = ["https://db.example.com"]
`

const RULES = `local all all trust
host app,web +staff,bob 10.0.0.0/8 oauth issuer=https://issuer.invalid scope=db map=m
host all all 2001:db8::/32 reject
`

const MEMBERS = '[role_memberships]\nstaff = ["ann"]\n'

function good(more: Readonly<Record<string, string>> = {}): Configuration {
  return configure({
    'pgbearer.toml': `${JWT}${MEMBERS}${UPSTREAM}`,
    'pg_hba.conf': RULES,
    'pg_ident.conf': 'm /^(.*)@example\\.com$ \\1\nm bob bob\n',
    ...more,
  })
}

describe('a configuration that is fine', () => {
  test('is shown as PostgreSQL shows its two views, and exits 0', async () => {
    const { config, path } = good()
    const { status, stdout, stderr } = await runCli(['check', '-c', config])
    expect(stderr).toBe('')
    expect(status).toBe(0)
    const lines = stdout.split('\n').map((line) => line.replaceAll(/ +/g, ' ').trim())
    expect(lines[0]).toBe('pg_hba_file_rules')
    expect(lines[1]).toBe(
      'rule_number | file_name | line_number | type | database | user_name | address | netmask | auth_method | options | error',
    )
    expect(lines).toContain(
      `2 | ${path('pg_hba.conf')} | 2 | host | {app,web} | {+staff,bob} | 10.0.0.0 | 255.0.0.0 | oauth | {map=m,issuer=https://issuer.invalid,scope=db,validator=jwt} |`,
    )
    expect(lines).toContain(`2 | ${path('pg_ident.conf')} | 2 | m | bob | bob |`)
  })

  test('has one shape for programs', async () => {
    const { config, path } = good()
    const { status, stdout, stderr } = await runCli(['check', '-c', config, '--json'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const report = checkShape.parse(JSON.parse(stdout))
    expect(report).toMatchObject({ ok: true, validators: ['jwt'], errors: [], warnings: [] })
    expect(report.expectations).toBeNull()
    expect(report.hba_file_rules?.[2]).toEqual({
      rule_number: 3,
      file_name: path('pg_hba.conf'),
      line_number: 3,
      type: 'host',
      database: ['all'],
      user_name: ['all'],
      address: '2001:db8::',
      netmask: 'ffff:ffff::',
      auth_method: 'reject',
      options: null,
      error: null,
    })
    expect(report.ident_file_mappings).toHaveLength(2)
  })

  test('may have no maps', async () => {
    const { config } = configure({
      'pgbearer.toml': UPSTREAM,
      'pg_hba.conf': 'local all all trust\n',
    })
    const { status, stdout } = await runCheck({ config })
    expect(status).toBe(0)
    expect(stdout).toContain('pg_ident_file_mappings\n(0 rows)')
  })

  test('prints no control character of any name', async () => {
    const { config } = good({ 'pg_hba.conf': 'local "a\u001b[2J\u0085\u202eb" all trust\n' })
    for (const json of [false, true]) {
      const { stdout } = await runCheck({ config, json })
      expect(stdout).toContain('\\u001b[2J\\u0085\\u202e')
      expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
    }
  })
})

describe('nobody is asked over the network', () => {
  const issuer = withTokenIssuer()

  test.each(['background', 'required', 'off'])(
    'where keys are to be fetched before a login: %s',
    async (prefetch) => {
      const asked = issuer().requests.length
      const { config } = good({
        'pgbearer.toml': `${JWT}prefetch = "${prefetch}"\nhttp = { egress = "any", dangerously_allow_http = true }\n${MEMBERS}${UPSTREAM}`,
        'pg_hba.conf': RULES.replace('https://issuer.invalid', issuer().issuer),
      })
      const { status, stderr } = await runCheck({ config })
      expect(stderr).not.toContain('cannot load keys')
      expect(status).toBe(0)
      expect(issuer().requests).toHaveLength(asked)
    },
  )

  test.each(['introspection', 'composite'])('by the bundled module %s', async (name) => {
    const asked = issuer().requests.length
    const http = 'http = { egress = "any", dangerously_allow_http = true }'
    const audiences = 'audiences = ["https://db.example.com"]'
    const table = {
      introspection: `[validators.introspection]\n${audiences}\n${http}
client_auth = { method = "client_secret_basic", client_id = "db", client_secret = { file = "secret" } }\n`,
      composite: `[[validators.composite.issuers]]\nissuer = "${issuer().issuer}"
jwt = { ${audiences}, prefetch = "required", ${http} }\n`,
    }[name]
    const { config } = good({
      'pgbearer.toml': `oauth_validator_libraries = ["${name}"]\n${table}${MEMBERS}${UPSTREAM}`,
      'pg_hba.conf': RULES.replace('https://issuer.invalid', issuer().issuer),
      secret: 'x\n',
    })
    const { status, stderr } = await runCheck({ config })
    expect(stderr).not.toContain('cannot load keys')
    expect(stderr).toContain(`${config}:2: warning: `)
    expect(status).toBe(0)
    expect(issuer().requests).toHaveLength(asked)
  })

  test('where a module of somebody else heeds what it is told', async () => {
    const { config, write } = good()
    write('pgbearer.toml', `oauth_validator_libraries = ["./told.js"]\n${MEMBERS}${UPSTREAM}`)
    write(
      'told.js',
      `export default (settings, { checkOnly, log }) => {
        log.warning(\`told \${checkOnly}\`)
        return { apiVersion: 1, validate: () => false }
      }`,
    )
    write('package.json', '{"type":"module"}')
    const { stderr, status } = await runCheck({ config })
    expect(stderr).toContain('OAuth validator module "./told.js": told true')
    expect(status).toBe(0)
  })
})

describe('what is wrong', () => {
  test('is told of every file at once, with file, line, DETAIL and HINT', async () => {
    const { config, path } = configure({
      'pgbearer.toml': `oauth_validator_libraries = ["jwt", "./gone.js"]
ssl = true
prt = 1
shutdown_timeout = "soon"
[validators.jwt]
audience = "x"
[validators.unused]
[upstream]
host = "127.0.0.1"
users_file = "users.toml"
`,
      'pg_hba.conf': `host all all 1.2.3.4/99 trust
host all
host all all all oauth issuer=i scope=s validator=jwt
host all all all oauth scope=s validator=jwt
host all +staff all trust
`,
      'pg_ident.conf': 'm a\nm /( x\nm x +staff\n',
      'users.toml': '[ann]\npassword = "x"\nscram_client_key = "y"\n',
    })
    const { status, stdout, stderr } = await runCheck({ config })
    expect(status).toBe(1)
    const hba = path('pg_hba.conf')
    const ident = path('pg_ident.conf')
    for (const wanted of [
      `${config}:3: unrecognized configuration parameter "prt", perhaps you meant "port"`,
      `${config}:4: invalid value for parameter "shutdown_timeout"`,
      `${path('server.crt')}: could not load file: No such file or directory`,
      `${path('server.key')}: could not load file: No such file or directory`,
      `${path('users.toml')}:`,
      `${hba}:1: invalid CIDR mask in address "1.2.3.4/99"`,
      `${hba}:2: end-of-line before role specification`,
      `${hba}:4: authentication method "oauth" requires argument "issuer" to be set`,
      `${hba}:5: "+staff" needs role memberships, and no source of them is set\n    HINT:  Set [role_memberships]`,
      `${ident}:1: missing entry at end of line`,
      `${ident}:2: invalid regular expression "(": parentheses () not balanced`,
      `${ident}:3: "+staff" needs role memberships`,
      `${config}:5: init function of OAuth validator module "jwt" failed: SettingsError: audiences: is required\n    audience: unknown setting`,
      `${config}:1: could not find OAuth validator module "./gone.js"`,
      `${config}:7: settings [validators.unused] belong to no name`,
    ]) {
      expect(stderr).toContain(wanted)
    }
    // Nobody who mends a file wants to know where in a module it was read.
    expect(stderr).not.toContain('(at ')
    // What can be read is shown all the same.
    expect(stdout).toContain('{issuer=i,scope=s,validator=jwt}')
    expect(stdout).toContain('| end-of-line before role specification')
  })

  test('has one shape for programs', async () => {
    const { config, path } = configure({
      'pgbearer.toml': `${JWT}${UPSTREAM}`,
      'pg_hba.conf':
        'host all all all oauth issuer=https://i.invalid scope=s validator.colour=red\n',
    })
    const { status, stdout, stderr } = await runCheck({ config, json: true })
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' })
    const report = checkShape.parse(JSON.parse(stdout))
    expect(report.ok).toBe(false)
    expect(report.errors).toEqual([
      {
        message: 'invalid authentication options "validator.*": Unrecognized key: "colour"',
        code: 'ERR_CONFIG_FILE',
        file: path('pg_hba.conf'),
        line: 1,
        detail: 'The installed validator module ("jwt") refused it.',
        hint: null,
        sql_state: 'F0000',
        validator: null,
        reason: null,
      },
    ])
  })

  test('names the module and the reason where one cannot be used', async () => {
    const library = fixtureValidator('wrong-api-version')
    const { config } = configure({
      'pgbearer.toml': `oauth_validator_libraries = [${JSON.stringify(library)}]\n${UPSTREAM}`,
      'pg_hba.conf': 'host all all all oauth issuer=i scope=s\n',
    })
    const { stdout } = await runCheck({ config, json: true })
    expect(checkShape.parse(JSON.parse(stdout)).errors).toMatchObject([
      { code: 'ERR_VALIDATOR_LOAD', reason: 'wrong_api_version', validator: library, line: 1 },
    ])
  })

  test.each([
    ['oauth_validator_library = ["jwt"]', 'oauth_validator_libraries'],
    ['ssl = "maybe"', 'ssl'],
    ['role_memberships = 3', 'role_memberships'],
    [`${UPSTREAM}memberships_user = 3`, 'memberships_user'],
    [`${UPSTREAM}membership_user = "x"`, 'membership_user'],
  ])('does not lead to errors in rules that are none: %s', async (line, name) => {
    const upstream = line.includes(UPSTREAM) ? '' : UPSTREAM
    const { config } = good({ 'pgbearer.toml': `${line}\n${upstream}` })
    const { status, stdout, stderr } = await runCheck({ config })
    expect(status).toBe(1)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).toContain(name)
    expect(stdout).toContain('pg_hba_file_rules: not looked at')
  })

  test('is told where the settings cannot be read at all', async () => {
    const { config, write } = good()
    write('pgbearer.toml', 'port = \n')
    expect((await runCheck({ config })).stderr).toContain(`${config}:1: `)
    const missing = await runCli(['check', '-c', `${config}.gone`, '--json'])
    expect(missing.status).toBe(1)
    const report = checkShape.parse(JSON.parse(missing.stdout))
    expect(report.hba_file_rules).toBeNull()
    expect(report.errors).toMatchObject([{ sql_state: '58P01', file: `${config}.gone` }])
  })

  test('is a warning where a rule can never match, and exits 0', async () => {
    const { config, path } = good({ 'pg_hba.conf': 'hostssl all all all reject\n' })
    const { status, stderr } = await runCheck({ config })
    expect(status).toBe(0)
    expect(stderr).toContain(
      `${path('pg_hba.conf')}:1: warning: hostssl record cannot match because SSL is disabled`,
    )
  })

  test('is told of tokens of clients that are shown to the server behind, with and without secrets', async () => {
    const forward = `${JWT}${MEMBERS}${UPSTREAM}[upstream.oauth] # shown\ntoken = "forward"\n`
    const { config } = good({ 'pgbearer.toml': forward })
    const line = forward.split('\n').indexOf('token = "forward"') + 1
    for (const withoutSecrets of [false, true]) {
      const { status, stderr } = await runCheck({ config, withoutSecrets })
      expect(status).toBe(0)
      expect(stderr).toBe(
        `${config}:${line}: warning: clients' tokens are shown to the server behind\n    DETAIL:  Whoever runs that server can use a token wherever it is good.\n`,
      )
    }
    const { stdout } = await runCheck({ config, json: true })
    expect(checkShape.parse(JSON.parse(stdout))).toMatchObject({
      ok: true,
      warnings: [{ code: 'WARNING', file: config, line, sql_state: null }],
    })
    for (const table of ['oauth.token = "forward"', 'oauth = { token = "forward" }']) {
      const plain = good({ 'pgbearer.toml': `${JWT}${MEMBERS}${UPSTREAM}${table}\n` })
      const { stderr } = await runCheck({ config: plain.config })
      expect(stderr).toContain(`${plain.config}: warning: clients' tokens are shown`)
    }
  })

  test('is not told of tokens that the server behind is not shown', async () => {
    const provider = `${JWT}${MEMBERS}${UPSTREAM}[upstream.oauth]\ntoken = "provider"\n[upstream.oauth.source]\nenvironment = "env"\nvariable = "T"\n`
    const { config } = good({ 'pgbearer.toml': provider })
    expect(await runCheck({ config })).toMatchObject({ status: 0, stderr: '' })
  })

  test('is told of a check that a module was told to leave out', async () => {
    const { config } = good({
      'pgbearer.toml': `${JWT}allow_claim_collisions = true\n${MEMBERS}${UPSTREAM}`,
    })
    const { status, stderr } = await runCheck({ config })
    expect(status).toBe(0)
    expect(stderr).toContain(
      `${config}:3: warning: OAuth validator module "jwt": a check is relaxed by the setting allow_claim_collisions`,
    )
  })
})

describe('certificates and passwords', () => {
  const certificates = withCertificates()

  test('that do not fit are an error', async () => {
    const { files } = certificates()
    const { config } = good({
      'pgbearer.toml': `ssl = true\nssl_cert_file = "${files.strangeCa}"\nssl_key_file = "${files.key}"\n${JWT}${MEMBERS}${UPSTREAM}`,
    })
    const { status, stderr } = await runCheck({ config })
    expect(status).toBe(1)
    expect(stderr).toContain(`${files.strangeCa}: could not load server certificate or key`)
  })

  test('may be left out where a repository does not hold them', async () => {
    const { config } = good({
      'pgbearer.toml': `ssl = true\n${JWT}${MEMBERS}${UPSTREAM}users_file = "users.toml"\n`,
    })
    expect((await runCheck({ config })).status).toBe(1)
    const { status, stderr } = await runCli(['check', '-c', config, '--without-secrets'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })
})
