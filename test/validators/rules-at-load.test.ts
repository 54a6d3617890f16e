/**
 * DEL-01 and SCP-02: a rule that a module can never serve, or serves for nearly anybody, is found when it is
 * loaded and not at the first login.
 */
import type { ValidatorInit, ValidatorRule } from 'pgbearer/validator'
import { describe, expect, it, onTestFinished } from 'vitest'
import { checkValidator } from '../../src/commands/check-validator.ts'
import { ConfigError } from '../../src/errors.ts'
import composite from '../../validators/composite.ts'
import introspection from '../../validators/introspection.ts'
import jwt from '../../validators/jwt.ts'
import opaque from '../../validators/opaque.ts'
import { configure, runCheck, UPSTREAM } from '../commands/support.ts'
import { offeredClient } from '../support/oauth-proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { oauthBearer, saslInitialResponse } from '../support/wire-bytes.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { testCertificates } from './support/certificates.ts'
import { AUDIENCE } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'

const ISSUER = 'https://as.example'
const AUDIENCES = { audiences: ['db'], prefetch: 'off' }
const ROLES = { authorization: { mode: 'role_claim', claim: '/roles' } }
const CLIENT = { client_auth: { method: 'bearer', client_id: 'db', token: { file: 'secret' } } }

type Table = Readonly<Record<string, unknown>>
interface Kind {
  readonly init: ValidatorInit
  readonly settings: (more: Table) => Table
}

const kinds: Readonly<Record<string, Kind>> = {
  jwt: { init: jwt, settings: (more) => ({ ...AUDIENCES, ...more }) },
  introspection: {
    init: introspection,
    settings: (more) => ({ audiences: ['db'], ...CLIENT, ...more }),
  },
  opaque: {
    init: opaque,
    settings: (more) => ({ provider: 'google', client_ids: ['c'], ...more }),
  },
  composite: {
    init: composite,
    settings: (more) => ({ issuers: [{ issuer: ISSUER, jwt: { ...AUDIENCES, ...more } }] }),
  },
}

const rule = (changes: Partial<ValidatorRule> = {}): ValidatorRule => ({
  place: 'pg_hba.conf:7',
  issuer: ISSUER,
  scope: ['db'],
  delegateIdentMapping: false,
  options: {},
  ...changes,
})
const delegating = rule({ delegateIdentMapping: true })

async function load(
  { init, settings }: Kind,
  more: Table,
  ...rules: ValidatorRule[]
): Promise<Runner> {
  const files = { secret: 's' }
  const runner = await startValidator({
    init,
    settings: settings(more),
    issuers: [ISSUER],
    rules,
    files,
  })
  onTestFinished(() => runner[Symbol.asyncDispose]())
  return runner
}

describe.each(Object.entries(kinds))('DEL-01, half of a delegation: %s', (_name, kind) => {
  it('does not load for a rule that delegates to a module that looks at no role', async () => {
    await expect(load(kind, {}, rule(), delegating)).rejects.toThrow(
      'pg_hba.conf:7: the rule has delegate_ident_mapping=1, but authorization.mode is "identity"',
    )
  })
  it('does not load for a rule whose map is asked and whose module decides about roles', async () => {
    await expect(load(kind, ROLES, delegating, rule({ place: 'a.conf:9' }))).rejects.toThrow(
      'a.conf:9: authorization.mode is "role_claim", but the rule does not have delegate_ident_mapping=1',
    )
  })
  it('names every rule that is wrong', async () => {
    const other = rule({ place: 'pg_hba.conf:8', delegateIdentMapping: true })
    await expect(load(kind, {}, delegating, other)).rejects.toThrow(
      /pg_hba\.conf:7: .*\n.*pg_hba\.conf:8: /,
    )
  })
  it('looks at what the rule itself says about roles', async () => {
    const options = { role_claim: '/roles' }
    await load(kind, {}, rule(), { ...delegating, options })
    await load(kind, ROLES, delegating, rule({ options: { authorization: 'identity' } }))
    await expect(load(kind, {}, rule({ options }))).rejects.toThrow('delegate_ident_mapping=1')
    const identity = { ...delegating, options: { authorization: 'identity' } }
    await expect(load(kind, ROLES, identity)).rejects.toThrow('nobody would check the role')
  })
  it('does not load for a rule that takes roles from a claim that nobody named', async () => {
    for (const authorization of ['role_claim', 'role_map']) {
      await expect(load(kind, {}, { ...delegating, options: { authorization } })).rejects.toThrow(
        'there is no authorization.claim',
      )
    }
    const options = { authorization: 'role_map', role_claim: '/groups' }
    await expect(load(kind, {}, { ...delegating, options })).rejects.toThrow(
      'there is no authorization.map',
    )
  })
  it('leaves an option that is wrong to the host, which knows the line', async () => {
    await load(kind, {}, { ...delegating, options: { authorization: 'nobody' } })
  })
  it('is loaded where no rule names it', async () => {
    await load(kind, {})
    await load(kind, ROLES)
  })
  it('does not load for a rule that asks for no scope', async () => {
    await expect(load(kind, {}, rule({ scope: [] }))).rejects.toThrow(
      'pg_hba.conf:7: no scope is required; allow_empty_scope is not set',
    )
    await load(kind, { allow_empty_scope: true }, rule({ scope: [] }))
    await load(kind, { scopes: ['db'] }, rule({ scope: [] }))
  })
})

describe.each(Object.entries(kinds))('SCP-02, a scope that any client gets: %s', (_name, kind) => {
  const warnings = ({ lines }: Runner): string[] =>
    lines.filter((line) => line.startsWith('warning: ') && line.includes('scope'))

  it('is a warning that names the rule', async () => {
    for (const scope of [['openid'], ['openid', 'email', 'offline_access'], ['profile']]) {
      const runner = await load(kind, {}, rule(), rule({ place: 'pg_hba.conf:9', scope }))
      expect(warnings(runner)).toEqual([
        expect.stringContaining(
          `pg_hba.conf:9: the only scope that is asked for is "${scope.join(' ')}"`,
        ),
      ])
    }
  })
  it('is none beside one that is for the database, or in another spelling', async () => {
    for (const scope of [['openid', 'db'], ['OpenID'], ['openid:db']]) {
      expect(warnings(await load(kind, {}, rule({ scope })))).toEqual([])
    }
  })
  it('is looked for in the settings where they name the scopes', async () => {
    const openid = rule({ scope: ['openid'] })
    expect(warnings(await load(kind, { scopes: ['db'] }, openid))).toEqual([])
    const runner = await load(kind, { scopes: ['openid'] }, rule(), rule())
    expect(warnings(runner)).toEqual([expect.stringContaining('scopes: the only scope')])
  })
  it('is no warning where the settings say that no scope is needed', async () => {
    const none = { scopes: [], allow_empty_scope: true }
    const runner = await load(kind, none, rule({ scope: ['openid'] }))
    expect(warnings(runner)).toEqual([expect.stringContaining('allow_empty_scope = true')])
  })
  it('does not load where the settings require a specific one', async () => {
    const strict = { require_specific_scope: true }
    await expect(load(kind, strict, rule(), rule({ scope: ['openid'] }))).rejects.toThrow(
      'pg_hba.conf:7: the only scope that is asked for is "openid"',
    )
    await load(kind, strict, rule())
  })
})

describe('SCP-02, a composite of many issuers', () => {
  it('says whose tokens the warning is about', async () => {
    const identity = { format: 'issuer_qualified' }
    const other = 'https://b.example'
    const settings = (): Table => ({
      issuers: [
        { issuer: ISSUER, jwt: { ...AUDIENCES, identity } },
        { issuer: other, jwt: { ...AUDIENCES, identity, scopes: ['db'] } },
      ],
    })
    const { lines } = await load({ init: composite, settings }, {}, rule({ scope: ['openid'] }))
    expect(lines.filter((line) => line.startsWith('warning: '))).toEqual([
      expect.stringContaining(`warning: issuer "${ISSUER}", jwt: pg_hba.conf:7: the only scope`),
    ])
  })
})

describe('SCP-02, in the program', () => {
  it('is a warning of pgbearer check, which is fine all the same', async () => {
    const { config, path } = configure({
      'pgbearer.toml': `oauth_validator_libraries = ["jwt"]\n[validators.jwt]\naudiences = ["db"]\n${UPSTREAM}`,
      'pg_hba.conf': `host all all all oauth issuer=${ISSUER} scope=openid\n`,
    })
    const { status, stdout, stderr } = await runCheck({ config })
    expect(status).toBe(0)
    expect(stdout + stderr).toContain(
      `${path('pg_hba.conf')}:1: the only scope that is asked for is "openid"`,
    )
  })
})

describe('DEL-01, a composite of many issuers', () => {
  it('says which of them has half of a delegation', async () => {
    const prefixed = (prefix: string): Table => ({
      identity: { claims: [{ path: '/sub', prefix }] },
    })
    const issuers = [
      { issuer: ISSUER, jwt: { ...AUDIENCES, ...ROLES, ...prefixed('a:') } },
      { issuer: 'https://b.example', jwt: { ...AUDIENCES, ...prefixed('b:') } },
    ]
    const kind = { init: composite, settings: () => ({ issuers }) }
    await expect(load(kind, {}, delegating)).rejects.toThrow(
      /^issuer "https:\/\/b\.example", jwt: pg_hba\.conf:7: /,
    )
  })
})

describe('DEL-01, in the program', () => {
  const settings = { audiences: [AUDIENCE], http: { ca: 'ca.pem', egress: 'any' } }
  const HALF = 'but authorization.mode is "identity"'

  it('keeps the proxy from starting', async () => {
    const hba = `host all all all oauth issuer=${ISSUER} scope=db delegate_ident_mapping=1\n`
    const starting = startProxy({
      hba,
      oauth_validator_libraries: ['jwt'],
      validators: { jwt: AUDIENCES },
    })
    const error: unknown = await starting.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ConfigError)
    expect((error as ConfigError).errors).toHaveLength(1)
    expect((error as ConfigError).errors[0]?.message).toMatch(/"jwt" failed: .*pg_hba\.conf:1: /)
    expect((error as ConfigError).errors[0]?.message).toContain(HALF)
  })

  it('leaves a reload without effect: the old rules stay, and so do their logins', async () => {
    await using server = await AuthorizationServer.start()
    const { ca } = await testCertificates()
    const oauth = `host all all 127.0.0.1/32 oauth issuer=${server.issuer} scope=db`
    await using proxy = await startProxy({
      hba: oauth,
      oauth_validator_libraries: ['jwt'],
      validators: { jwt: settings },
      files: { 'ca.pem': ca },
    })
    proxy.writeFile('pg_hba.conf', `${oauth} delegate_ident_mapping=1\n`)
    const error: unknown = await proxy.server.reload().catch((thrown: unknown) => thrown)
    expect((error as ConfigError).errors[0]?.message).toContain(HALF)
    const client = await offeredClient(proxy, 'alice')
    client.send(saslInitialResponse('OAUTHBEARER', oauthBearer(`Bearer ${server.token()}`)))
    await proxy.logged(({ msg }) => msg.includes('connection authenticated: identity="alice"'))
    proxy.writeFile(
      'pg_hba.conf',
      `${oauth} delegate_ident_mapping=1 validator.role_claim=/roles\n`,
    )
    await proxy.server.reload()
  })

  it('is an error of pgbearer check', async () => {
    const { config } = configure({
      'pgbearer.toml': `oauth_validator_libraries = ["jwt"]\n[validators.jwt]\naudiences = ["db"]\n${UPSTREAM}`,
      'pg_hba.conf': `host all all all oauth issuer=${ISSUER} scope=db delegate_ident_mapping=1\n`,
    })
    const { status, stdout, stderr } = await runCheck({ config })
    expect(status).toBe(1)
    expect(stdout + stderr).toContain(HALF)
  })

  it('is an error of pgbearer check-validator', async () => {
    const { config, write } = configure({
      'pgbearer.toml': `oauth_validator_libraries = ["jwt"]\n[validators.jwt]\naudiences = ["db"]\n${UPSTREAM}`,
    })
    const tokenFile = write('token', 'some-token-or-other\n')
    const said: string[] = []
    const say = (text: string): void => void said.push(text)
    const options = { tokenFile, config, role: 'alice', issuer: ISSUER, scope: 'db' }
    const output = { answer: say, complain: say }
    expect(await checkValidator('jwt', { ...options, delegate: true }, output)).toBe(1)
    expect(said.join('')).toContain(`the command line: the rule has delegate_ident_mapping=1`)
  })
})
