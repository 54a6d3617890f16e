/**
 * Tokens as each provider makes them, and what else the same provider signs with the same key. The
 * claims follow the providers' documentation; the signatures are made here.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import jwt from '../../validators/jwt.ts'
import { expandPreset } from '../../validators/lib/presets/expand-preset.ts'
import type { PRESETS } from '../../validators/lib/presets/presets.ts'
import { type Runner, startValidator } from './support/run-validator.ts'
import { signHmac, signingKey, signJws } from './support/signing-key.ts'

const KEY = signingKey('RS256', 'k1')
const TENANT = '11111111-2222-3333-4444-555555555555'
const OTHER = '99999999-2222-3333-4444-555555555555'
const now = Math.floor(Date.now() / 1_000)

type Claims = Record<string, unknown>
type Refused = readonly [name: string, code: string, claims: Claims, header?: Claims]

interface Fixture {
  readonly preset: unknown
  /** Of the rule. */
  readonly issuer: string
  readonly audience: string
  readonly typ?: string | undefined
  readonly claims: Claims
  readonly authnId: string
  readonly scope?: readonly string[]
  /** Changes that make another token of the provider: an ID token, another tenant, too many groups. */
  readonly refused: readonly Refused[]
  /** Roles that the token grants under delegation, and where they are. */
  readonly roles?: readonly string[]
}

const idToken = (changes: Claims): Refused => ['an ID token', 'wrong_type', changes]

const FIXTURES: Readonly<Record<keyof typeof PRESETS, Fixture>> = {
  rfc9068: {
    preset: 'rfc9068',
    issuer: 'https://as.example',
    audience: 'db',
    typ: 'at+jwt',
    claims: { sub: 'alice', jti: 'j', client_id: 'c', scope: 'db', roles: ['reader'] },
    authnId: 'alice',
    roles: ['reader'],
    refused: [
      ['an ID token', 'wrong_type', { nonce: 'n' }, { typ: 'JWT' }],
      ['no client', 'missing_claim', { client_id: undefined }],
      ['no jti', 'missing_claim', { jti: undefined }],
    ],
  },
  keycloak: {
    preset: 'keycloak',
    issuer: 'https://kc.example/realms/r',
    audience: 'db',
    typ: 'JWT',
    claims: {
      sub: 'f0e1',
      typ: 'Bearer',
      azp: 'psql',
      scope: 'db email',
      realm_access: { roles: ['reader'] },
    },
    authnId: 'f0e1',
    roles: ['reader'],
    refused: [
      idToken({ typ: 'ID', at_hash: 'x', nonce: 'n' }),
      ['a refresh token', 'wrong_type', { typ: 'Refresh' }],
      ['a token without an audience mapper', 'wrong_audience', { aud: 'account' }],
      ['a token of another realm', 'unknown_issuer', { iss: 'https://kc.example/realms/other' }],
      [
        'a token over another hostname',
        'unknown_issuer',
        { iss: 'https://kc-internal.example/realms/r' },
      ],
      ['a lightweight token', 'identity_invalid', { sub: undefined }],
    ],
  },
  entra: {
    preset: { name: 'entra', tenant_id: TENANT },
    issuer: `https://login.microsoftonline.com/${TENANT}/v2.0`,
    audience: 'api-guid',
    typ: 'JWT',
    claims: {
      ver: '2.0',
      tid: TENANT,
      oid: 'o1',
      sub: 'pairwise',
      azp: 'app',
      scp: 'db user',
      roles: ['reader'],
      upn: 'root@example.com',
    },
    authnId: `${TENANT}:o1`,
    roles: ['reader'],
    refused: [
      idToken({ nonce: 'n' }),
      ['a token of version 1', 'wrong_type', { ver: '1.0' }],
      [
        'a token of another tenant',
        'unknown_issuer',
        { iss: `https://login.microsoftonline.com/${OTHER}/v2.0` },
      ],
      ['a tenant claim of another', 'claim_rule_failed', { tid: OTHER }],
      ['an app-only token', 'insufficient_scope', { scp: undefined }],
      ['no object id', 'identity_invalid', { oid: undefined }],
    ],
  },
  'entra-v1': {
    preset: { name: 'entra-v1', tenant_id: TENANT },
    issuer: `https://login.microsoftonline.com/${TENANT}/v2.0`,
    audience: 'api://app',
    typ: 'JWT',
    claims: {
      iss: `https://sts.windows.net/${TENANT}/`,
      ver: '1.0',
      tid: TENANT,
      oid: 'o1',
      appid: 'a',
      scp: 'db',
    },
    authnId: `${TENANT}:o1`,
    refused: [
      idToken({ nonce: 'n' }),
      [
        'a token of version 2',
        'unknown_issuer',
        { iss: `https://login.microsoftonline.com/${TENANT}/v2.0`, ver: '2.0' },
      ],
      ['another tenant', 'unknown_issuer', { iss: `https://sts.windows.net/${OTHER}/` }],
      ['no slash at the end', 'unknown_issuer', { iss: `https://sts.windows.net/${TENANT}` }],
    ],
  },
  'google-id': {
    preset: 'google-id',
    issuer: 'https://accounts.google.com',
    audience: 'client.apps.example',
    typ: 'JWT',
    claims: {
      azp: 'client.apps.example',
      sub: '1076',
      email: 'jo@example.com',
      nonce: 'n',
      at_hash: 'h',
    },
    authnId: '1076',
    scope: ['openid'],
    refused: [
      ['the issuer without a scheme', 'unknown_issuer', { iss: 'accounts.google.com' }],
      ['a token without azp', 'wrong_type', { azp: undefined }],
    ],
  },
  okta: {
    preset: 'okta',
    issuer: 'https://d.okta.example/oauth2/default',
    audience: 'api://default',
    typ: undefined,
    claims: {
      ver: 1,
      jti: 'AT.x',
      cid: 'c',
      uid: '00u1',
      sub: 'jo@example.com',
      scp: ['db', 'openid'],
      groups: ['reader'],
    },
    authnId: '00u1',
    roles: ['reader'],
    refused: [
      idToken({ cid: undefined, nonce: 'n' }),
      ['a token of the org server', 'unknown_issuer', { iss: 'https://d.okta.example' }],
      ['scopes in one text', 'insufficient_scope', { scp: 'db' }],
    ],
  },
  auth0: {
    preset: 'auth0',
    issuer: 'https://t.auth0.example/',
    audience: 'https://api.example',
    typ: 'JWT',
    claims: {
      aud: ['https://api.example', 'https://t.auth0.example/userinfo'],
      sub: 'auth0|1',
      azp: 'c',
      scope: 'db',
      permissions: ['reader'],
    },
    authnId: 'auth0|1',
    roles: ['reader'],
    refused: [
      idToken({ azp: undefined, scope: undefined, nonce: 'n' }),
      ['an issuer without its slash', 'unknown_issuer', { iss: 'https://t.auth0.example' }],
    ],
  },
  cognito: {
    preset: 'cognito',
    issuer: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x',
    audience: 'client1',
    typ: undefined,
    claims: {
      aud: undefined,
      client_id: 'client1',
      token_use: 'access',
      sub: 'u-1',
      username: 'jo',
      scope: 'db',
      'cognito:groups': ['reader'],
    },
    authnId: 'u-1',
    roles: ['reader'],
    refused: [
      idToken({ token_use: 'id', aud: 'client1' }),
      ['another client', 'wrong_audience', { client_id: 'client2' }],
      ['a token of the SDK flow', 'insufficient_scope', { scope: 'aws.cognito.signin.user.admin' }],
    ],
  },
  'gitlab-ci': {
    preset: 'gitlab-ci',
    issuer: 'https://gitlab.com',
    audience: 'https://db.example.com',
    typ: 'JWT',
    claims: {
      sub: 'project_path:g/p:ref_type:branch:ref:main',
      project_id: '42',
      pipeline_id: '7',
      ref: 'main',
      ref_protected: 'true',
    },
    authnId: 'project:42',
    scope: ['openid'],
    refused: [
      idToken({ project_id: undefined, nonce: 'n' }),
      ['a ref that is not protected', 'claim_rule_failed', { ref_protected: 'false' }],
      ['a boolean that GitLab does not send', 'claim_rule_failed', { ref_protected: true }],
    ],
  },
  'github-actions': {
    preset: { name: 'github-actions', owner_id: '7' },
    issuer: 'https://token.actions.githubusercontent.com',
    audience: 'https://db.example.com',
    typ: 'JWT',
    claims: {
      sub: 'repo:o/r:ref:refs/heads/main',
      repository_id: '9',
      repository_owner_id: '7',
      job_workflow_ref: 'o/r/.github/workflows/x.yml@refs/heads/main',
    },
    authnId: '7/9',
    scope: ['openid'],
    refused: [
      ['the default audience', 'wrong_audience', { aud: 'https://github.com/o' }],
      ['another owner', 'claim_rule_failed', { repository_owner_id: '8' }],
      ['a token without a workflow', 'wrong_type', { job_workflow_ref: undefined }],
    ],
  },
  'kubernetes-sa': {
    preset: { name: 'kubernetes-sa', namespace: 'app' },
    issuer: 'https://k8s.example',
    audience: 'postgres',
    typ: undefined,
    claims: {
      sub: 'system:serviceaccount:app:worker',
      'kubernetes.io': { namespace: 'app', serviceaccount: { name: 'worker', uid: 'u' } },
    },
    authnId: 'system:serviceaccount:app:worker',
    scope: ['openid'],
    refused: [
      [
        'the audience of the API server',
        'wrong_audience',
        { aud: 'https://kubernetes.default.svc' },
      ],
      [
        'another namespace',
        'claim_rule_failed',
        { 'kubernetes.io': { namespace: 'other', serviceaccount: { uid: 'u' } } },
      ],
      [
        'a legacy secret',
        'unknown_issuer',
        { iss: 'kubernetes/serviceaccount', exp: undefined, aud: undefined },
      ],
      ['a token without a uid', 'wrong_type', { 'kubernetes.io': { namespace: 'app' } }],
    ],
  },
  'aws-outbound': {
    preset: { name: 'aws-outbound', account_id: '123456789012' },
    issuer: 'https://x.tokens.sts.global.api.aws',
    audience: 'db',
    typ: 'JWT',
    claims: {
      sub: 'arn:aws:iam::123456789012:role/r',
      'https://sts.amazonaws.com/': { aws_account: '123456789012' },
    },
    authnId: 'arn:aws:iam::123456789012:role/r',
    scope: ['openid'],
    refused: [
      [
        'another account',
        'claim_rule_failed',
        { 'https://sts.amazonaws.com/': { aws_account: '999999999999' } },
      ],
      ['a token without the account', 'wrong_type', { 'https://sts.amazonaws.com/': undefined }],
    ],
  },
  zitadel: {
    preset: 'zitadel',
    issuer: 'https://z.example',
    audience: '1234',
    typ: 'at+jwt',
    claims: {
      sub: '777',
      client_id: 'c',
      scope: 'db',
      'urn:zitadel:iam:org:project:roles': { reader: { '1': 'x' } },
    },
    authnId: '777',
    roles: ['reader'],
    refused: [['an ID token', 'wrong_type', { client_id: undefined, nonce: 'n' }, { typ: 'JWT' }]],
  },
  dex: {
    preset: 'dex',
    issuer: 'https://dex.example/dex',
    audience: 'pgbearer',
    typ: undefined,
    claims: { sub: 'CgNhYmMSBGxkYXA', at_hash: 'x', groups: ['reader'] },
    authnId: 'CgNhYmMSBGxkYXA',
    scope: ['openid'],
    roles: ['reader'],
    refused: [['a token of another client', 'wrong_audience', { aud: 'website' }]],
  },
  authentik: {
    preset: 'authentik',
    issuer: 'https://a.example/application/o/db/',
    audience: 'client',
    typ: 'JWT',
    claims: { sub: 'hashed', azp: 'client', scope: 'db openid', groups: ['reader'] },
    authnId: 'hashed',
    roles: ['reader'],
    refused: [
      idToken({ scope: undefined, nonce: 'n' }),
      [
        'an issuer without its slash',
        'unknown_issuer',
        { iss: 'https://a.example/application/o/db' },
      ],
    ],
  },
  'cloudflare-access': {
    preset: { name: 'cloudflare-access', team: 'team' },
    issuer: 'https://team.cloudflareaccess.com',
    audience: 'tag',
    typ: undefined,
    claims: { aud: ['tag'], type: 'app', sub: 'u-1', email: 'jo@example.com' },
    authnId: 'u-1',
    scope: ['openid'],
    refused: [
      ['a service token', 'identity_invalid', { sub: '', common_name: 'x.access' }],
      ['a token of another kind', 'wrong_type', { type: 'org' }],
    ],
  },
  spiffe: {
    preset: { name: 'spiffe', trust_domain: 'example.org' },
    issuer: 'https://spire.example.org',
    audience: 'postgres',
    typ: 'JWT',
    claims: { iss: undefined, sub: 'spiffe://example.org/ns/app/sa/worker', aud: ['postgres'] },
    authnId: 'spiffe://example.org/ns/app/sa/worker',
    scope: ['openid'],
    refused: [
      idToken({ nonce: 'n' }),
      ['another trust domain', 'wrong_type', { sub: 'spiffe://example.org.evil/ns/app' }],
      ['a trust domain below ours', 'wrong_type', { sub: 'spiffe://sub.example.org/ns/app' }],
      ['a subject that is no SPIFFE ID', 'wrong_type', { sub: 'example.org/ns/app' }],
      ['no subject', 'wrong_type', { sub: undefined }],
      ['a token that names another issuer', 'unknown_issuer', { iss: 'https://other.example.org' }],
      ['an issuer that is null', 'unknown_issuer', { iss: null }],
      ['no audience', 'wrong_audience', { aud: undefined }],
      ['no end', 'missing_claim', { exp: undefined }],
      ['a token of the type of others', 'wrong_type', {}, { typ: 'at+jwt' }],
      ['a key that the token brings along', 'header_rejected', {}, { jku: 'https://evil.example' }],
    ],
  },
}

for (const [name, fixture] of Object.entries(FIXTURES)) {
  describe(`preset ${name}`, () => {
    let runner: Runner
    let delegated: Runner | undefined
    const settings = {
      preset: fixture.preset,
      audiences: [fixture.audience],
      jwks: { keys: [KEY.jwk] },
    }
    const request = { issuer: fixture.issuer, scope: fixture.scope ?? ['db'] }
    const start = (more: Claims): Promise<Runner> =>
      startValidator({ init: jwt, settings: { ...settings, ...more }, issuers: [fixture.issuer] })
    const claims = (changes: Claims): Claims => ({
      iss: fixture.issuer,
      aud: fixture.audience,
      iat: now,
      exp: now + 600,
      ...fixture.claims,
      ...changes,
    })
    const token = (changes: Claims = {}, header: Claims = {}): string =>
      signJws(
        { alg: 'RS256', kid: 'k1', typ: fixture.typ, ...header },
        claims(changes),
        KEY,
        'RS256',
      )

    beforeAll(async () => {
      runner = await start({})
      delegated = fixture.roles && (await start({ authorization: { mode: 'role_claim' } }))
    })
    afterAll(async () => {
      await runner[Symbol.asyncDispose]()
      await delegated?.[Symbol.asyncDispose]()
    })

    it('accepts an access token of the provider, by a name that stays with its owner', async () => {
      const result = await runner.run(token(), request)
      expect(result).toMatchObject({
        authorized: true,
        authnId: fixture.authnId,
        expiresAt: now + 600,
      })
    })
    it('refuses a token for another audience', async () => {
      const other = name === 'cognito' ? { client_id: 'other' } : { aud: 'other' }
      expect(await runner.run(token(other), request)).toMatchObject({ code: 'wrong_audience' })
    })
    it('refuses a token that is signed with a shared secret', async () => {
      const forged = signHmac({ alg: 'HS256', kid: 'k1', typ: fixture.typ }, claims({}), 'secret')
      expect(await runner.run(forged, request)).toMatchObject({ code: 'alg_not_allowed' })
    })
    for (const [what, code, changes, header] of fixture.refused) {
      it(`refuses ${what}: ${code}`, async () => {
        expect(await runner.run(token(changes, header), request)).toMatchObject({
          authorized: false,
          code,
        })
      })
    }
    if (fixture.roles !== undefined) {
      const as = (role: string): object => ({ ...request, role, delegateIdentMapping: true })
      it('grants the roles in the token and no others, also not when they are too many to fit', async () => {
        expect(await delegated!.run(token(), as('reader'))).toMatchObject({ authorized: true })
        expect(await delegated!.run(token(), as('writer'))).toMatchObject({
          code: 'role_not_granted',
        })
        const overage = {
          roles: undefined,
          groups: undefined,
          _claim_names: { groups: 'src1' },
          hasgroups: true,
        }
        if ('roles' in fixture.claims || 'groups' in fixture.claims) {
          expect(await delegated!.run(token(overage), as('reader'))).toMatchObject({
            code: 'role_not_granted',
          })
        }
      })
    }
  })
}

describe('claim rules of a preset', () => {
  const ours: readonly (readonly [string, Claims])[] = [
    ['github-actions', { repository_owner_id: '8' }],
    ['aws-outbound', { 'https://sts.amazonaws.com/': { aws_account: '210987654321' } }],
    ['kubernetes-sa', { 'kubernetes.io': { namespace: 'other', serviceaccount: { uid: 'u' } } }],
    ['gitlab-ci', { ref_protected: 'false' }],
  ]
  const start = (name: string, preset: unknown, settings: Claims = {}): Promise<Runner> => {
    const { issuer, audience } = FIXTURES[name as keyof typeof FIXTURES]
    return startValidator({
      init: jwt,
      settings: { preset, audiences: [audience], jwks: { keys: [KEY.jwk] }, ...settings },
      issuers: [issuer],
    })
  }
  const ask = (runner: Runner, name: string, changes: Claims = {}): ReturnType<Runner['run']> => {
    const { issuer, audience, typ, claims, scope } = FIXTURES[name as keyof typeof FIXTURES]
    const times = { iss: issuer, aud: audience, iat: now, exp: now + 600 }
    const token = signJws(
      { alg: 'RS256', kid: 'k1', typ },
      { ...times, ...claims, ...changes },
      KEY,
      'RS256',
    )
    return runner.run(token, { issuer, scope: scope ?? ['db'] })
  }
  for (const [name, others] of ours) {
    it(`stay in force beside those of the table: ${name}`, async () => {
      const claim_rules = [{ path: '/env', op: 'eq', value: 'prod' }]
      const { preset } = FIXTURES[name as keyof typeof FIXTURES]
      await using runner = await start(name, preset, { claim_rules })
      expect(await ask(runner, name, { env: 'prod' })).toMatchObject({ authorized: true })
      for (const changes of [{ env: 'prod', ...others }, { env: 'test' }, {}]) {
        expect(await ask(runner, name, changes)).toMatchObject({ code: 'claim_rule_failed' })
      }
      await using none = await start(name, preset, { claim_rules: [] })
      expect(await ask(none, name, others)).toMatchObject({ code: 'claim_rule_failed' })
    })
  }
  it('are still rules that are read: a table that has none is told so', async () => {
    await expect(start('gitlab-ci', 'gitlab-ci', { claim_rules: 'all' })).rejects.toThrow(
      'claim_rules',
    )
  })
  it('of GitLab CI let unprotected refs in only by a setting that says so, and is printed', async () => {
    const preset = { name: 'gitlab-ci', allow_unprotected_refs: true }
    await using runner = await start('gitlab-ci', preset)
    expect(await ask(runner, 'gitlab-ci', { ref_protected: 'false' })).toMatchObject({
      authorized: true,
    })
    expect(runner.lines.join('\n')).toContain(
      'relaxed by the setting preset.allow_unprotected_refs = true',
    )
  })
})

describe('a SPIFFE trust bundle', () => {
  const SVID = 'spiffe://example.org/ns/app/sa/worker'
  const bundle = signingKey('RS256', 'jwt-1')
  const x509 = signingKey('RS256', 'x509-1')
  const keys = [
    { ...bundle.jwk, use: 'jwt-svid', alg: undefined },
    { ...x509.jwk, use: 'x509-svid', alg: undefined },
  ]
  const issuer = 'https://spire.example.org'
  const svid = (key: typeof KEY, header: Claims = {}, changes: Claims = {}): string =>
    signJws(
      { alg: 'RS256', kid: key.kid, ...header },
      { sub: SVID, aud: ['postgres'], iat: now, exp: now + 300, ...changes },
      key,
      'RS256',
    )
  const run = async (token: string, settings: Claims = {}): ReturnType<Runner['run']> => {
    await using runner = await startValidator({
      init: jwt,
      settings: {
        preset: { name: 'spiffe', trust_domain: 'example.org' },
        audiences: ['postgres'],
        jwks: { keys: JSON.parse(JSON.stringify(keys)), spiffe_sequence: 1 },
        ...settings,
      },
      issuers: [issuer],
    })
    return await runner.run(token, { issuer, scope: ['openid'] })
  }

  it('verifies an SVID with its keys for JWT-SVIDs, whatever type the header says', async () => {
    for (const typ of ['JWT', 'JOSE', undefined]) {
      expect(await run(svid(bundle, { typ }))).toMatchObject({ authorized: true, authnId: SVID })
    }
    expect(await run(svid(bundle, {}, { iss: issuer }))).toMatchObject({ authorized: true })
  })
  it('verifies nothing with a key for certificates', async () => {
    expect(await run(svid(x509))).toMatchObject({ code: 'no_matching_key' })
  })
  it('is no key set for the tokens of anybody else', async () => {
    await expect(run(svid(bundle), { keys: { uses: ['sig'] } })).rejects.toThrow(
      'there is no key that can verify a token',
    )
  })
  it('keeps its trust domain where the table has claim rules of its own', async () => {
    const claim_rules = [{ path: '/sub', op: 'prefix', value: 'spiffe://' }]
    const token = svid(bundle, {}, { sub: 'spiffe://other.org/ns/app' })
    expect(await run(token, { claim_rules })).toMatchObject({ code: 'wrong_type' })
    const token_type = { typ: ['at+jwt'], marker: [] }
    const typed = svid(bundle, { typ: 'at+jwt' }, { sub: 'spiffe://other.org/ns/app' })
    expect(await run(typed, { token_type })).toMatchObject({ code: 'claim_rule_failed' })
    expect(await run(svid(bundle, { typ: 'at+jwt' }), { token_type })).toMatchObject({
      authorized: true,
    })
  })
  it('has no key without a use, where it is known to be a bundle', async () => {
    for (const use of [undefined, 'sig', 'x509-svid']) {
      const jwks = { keys: [{ ...JSON.parse(JSON.stringify(bundle.jwk)), use }] }
      await expect(
        run(svid(bundle), { keys: { uses: ['jwt-svid'] }, jwks: JSON.parse(JSON.stringify(jwks)) }),
      ).rejects.toThrow('there is no key that can verify a token')
    }
    const preset = { name: 'spiffe', trust_domain: 'example.org' }
    const bundle_endpoint = 'https://spire.example.org/bundle'
    expect(expandPreset({ preset: { ...preset, bundle_endpoint } })).toMatchObject({
      keys: { uses: ['jwt-svid'] },
    })
  })
  it('is asked for where the preset says, unless the table knows better', () => {
    const preset = {
      name: 'spiffe',
      trust_domain: 'example.org',
      bundle_endpoint: 'https://spire.example.org/bundle',
    }
    expect(expandPreset({ preset })).toMatchObject({ jwks_uri: 'https://spire.example.org/bundle' })
    expect(expandPreset({ preset, jwks_file: 'bundle.json' })).not.toHaveProperty('jwks_uri')
    for (const trust_domain of ['', 'Example.org', 'spiffe://example.org', 'example.org/ns']) {
      expect(() => expandPreset({ preset: { name: 'spiffe', trust_domain } })).toThrow(
        'trust_domain: must be a trust domain',
      )
    }
    expect(() =>
      expandPreset({ preset: { ...preset, bundle_endpoint: 'http://spire.example.org' } }),
    ).toThrow('bundle_endpoint')
  })
})

describe('expandPreset', () => {
  it('lets the table win, and merges tables inside it', () => {
    const expanded = expandPreset({
      preset: 'keycloak',
      audiences: ['x'],
      authorization: { mode: 'role_claim' },
    })
    expect(expanded).toMatchObject({
      audiences: ['x'],
      authorization: { mode: 'role_claim', claim: '/realm_access/roles' },
    })
    expect(expanded).not.toHaveProperty('preset')
  })
  it('refuses a name that is none, and a parameter that is missing or wrong', () => {
    expect(() => expandPreset({ preset: 'kecloak' })).toThrow('must be one of')
    expect(() => expandPreset({ preset: 'constructor' })).toThrow('must be one of')
    expect(() => expandPreset({ preset: 'entra' })).toThrow('tenant_id: is required')
    for (const tenant_id of [
      'common',
      'organizations',
      'consumers',
      TENANT.toUpperCase().replace('1', 'A'),
    ]) {
      expect(() => expandPreset({ preset: { name: 'entra', tenant_id } })).toThrow(
        'tenant_id: must be a GUID',
      )
    }
    expect(() => expandPreset({ preset: { name: 'keycloak', realm: 'x' } })).toThrow(
      'unknown setting',
    )
  })
})
