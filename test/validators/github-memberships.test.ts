/** `opaque` with `memberships`: organizations and teams of GitHub decide who may be which role. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterEach, describe, expect, it, vi } from 'vitest'
import opaque from '../../validators/opaque.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { expectNoPartOf } from './support/jwt-fixture.ts'
import { type Runner, startValidator, type TestRequest } from './support/run-validator.ts'

const TOKEN = 'gho_0123456789abcdef0123456789'
const ACME = 9_919
const DBA = 4_242

/** Answers as GitHub does: pages of what the owner of the token belongs to. */
class Github implements AsyncDisposable {
  readonly server: AuthorizationServer
  readonly asked: string[] = []
  client = 'ours'
  lists: Record<string, readonly unknown[]> = {
    '/user/orgs': [{ id: ACME, login: 'acme' }],
    '/user/teams': [{ id: DBA, slug: 'dba', organization: { id: ACME, login: 'acme' } }],
  }

  private constructor(server: AuthorizationServer) {
    this.server = server
    server.overrides.set('/applications/ours/token', (_request, response) => {
      json(response, {
        app: { client_id: this.client },
        user: { id: 583_231, login: 'octocat' },
        scopes: ['read:org'],
        expires_at: null,
      })
    })
    for (const path of Object.keys(this.lists)) {
      server.overrides.set(path, (request, response) => this.#list(path, request, response))
    }
  }

  static async start(): Promise<Github> {
    return new Github(await AuthorizationServer.start())
  }

  /** From now on both lists are answered so. */
  answer(respond: (response: ServerResponse) => void): void {
    for (const path of Object.keys(this.lists)) {
      this.server.overrides.set(path, (_request, response) => respond(response))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]()
  }

  #list(path: string, request: IncomingMessage, response: ServerResponse): void {
    expect(request.method).toBe('GET')
    expect(request.headers.authorization).toBe(`Bearer ${TOKEN}`)
    const url = new URL(request.url ?? '', this.server.issuer)
    this.asked.push(`${path}${url.search}`)
    const [size, page] = ['per_page', 'page'].map((name) => Number(url.searchParams.get(name)))
    const from = (page! - 1) * size!
    response.setHeader('link', `<https://evil.example/page>; rel="next"`)
    json(response, this.lists[path]!.slice(from, from + size!))
  }
}

const start = (github: Github, settings: Record<string, unknown>): Promise<Runner> =>
  startValidator({
    init: opaque,
    settings: {
      provider: 'github',
      base_url: github.server.issuer,
      client_id: 'ours',
      client_secret: { file: 'secret' },
      memberships: ['organizations', 'teams'],
      http: { ca: 'ca.pem', egress: 'any' },
      ...settings,
    },
    issuers: [github.server.issuer],
    files: { secret: 'our-secret' },
  })

async function ask(
  github: Github,
  settings: Record<string, unknown> = {},
  request: Partial<TestRequest> = {},
): ReturnType<Runner['run']> {
  await using runner = await start(github, settings)
  const result = await runner.run(TOKEN, { scope: ['read:org'], ...request })
  expectNoPartOf(TOKEN, [JSON.stringify(result), ...runner.lines])
  return result
}

const member = (path: string, id: number): Record<string, unknown> => ({
  claim_rules: [{ path, op: 'contains', value: String(id) }],
})
const teams = { mode: 'role_map', claim: '/teams', map: { [DBA]: ['owner'] } }
const as = (role: string): Partial<TestRequest> => ({ role, delegateIdentMapping: true })
const numbered = (count: number): unknown[] =>
  Array.from({ length: count }, (_, i) => ({ id: i + 1 }))

afterEach(() => {
  vi.useRealTimers()
})

describe('memberships', () => {
  it('are not asked for by default', async () => {
    await using github = await Github.start()
    expect(await ask(github, { memberships: undefined })).toMatchObject({ authorized: true })
    expect(github.asked).toEqual([])
  })

  it('in an organization can be demanded of everybody', async () => {
    await using github = await Github.start()
    const settings = { memberships: ['organizations'] }
    expect(await ask(github, { ...settings, ...member('/organizations', ACME) })).toMatchObject({
      authorized: true,
      authnId: '583231',
    })
    expect(await ask(github, { ...settings, ...member('/organizations', 1) })).toMatchObject({
      authorized: false,
      code: 'claim_rule_failed',
      authnId: '583231',
    })
    expect(github.asked).toEqual([
      '/user/orgs?per_page=100&page=1',
      '/user/orgs?per_page=100&page=1',
    ])
  })

  it('in a team can grant roles, and no others', async () => {
    await using github = await Github.start()
    expect(await ask(github, { authorization: teams }, as('owner'))).toMatchObject({
      authorized: true,
    })
    expect(await ask(github, { authorization: teams }, as('other'))).toMatchObject({
      code: 'role_not_granted',
    })
    github.lists = { ...github.lists, '/user/teams': [] }
    expect(await ask(github, { authorization: teams }, as('owner'))).toMatchObject({
      code: 'role_not_granted',
    })
  })

  it('count by number, whatever a team or an organization is called', async () => {
    await using github = await Github.start()
    github.lists = {
      '/user/orgs': [{ id: 1, login: String(ACME), name: 'acme' }],
      '/user/teams': [{ id: 2, slug: String(DBA), name: String(DBA), parent: { id: DBA } }],
    }
    expect(await ask(github, { authorization: teams }, as('owner'))).toMatchObject({
      code: 'role_not_granted',
    })
    expect(await ask(github, member('/organizations', ACME))).toMatchObject({
      code: 'claim_rule_failed',
    })
  })

  it('that nobody asked for do not load', async () => {
    await using github = await Github.start()
    const settings = { memberships: ['organizations'], authorization: teams }
    await expect(start(github, settings)).rejects.toThrow('memberships = ["teams"]')
  })

  it('of a token for another application are not asked for', async () => {
    await using github = await Github.start()
    github.client = 'theirs'
    expect(await ask(github)).toMatchObject({ code: 'wrong_audience' })
    expect(github.asked).toEqual([])
  })

  it('end within ten seconds', async () => {
    await using github = await Github.start()
    await using runner = await start(github, member('/organizations', ACME))
    vi.useFakeTimers({ toFake: ['performance'] })
    const login = (): ReturnType<Runner['run']> => runner.run(TOKEN, { scope: ['read:org'] })
    expect(await login()).toMatchObject({ authorized: true })
    github.lists = { ...github.lists, '/user/orgs': [] }
    vi.advanceTimersByTime(10_000)
    expect(await login()).toMatchObject({ code: 'claim_rule_failed' })
  })
})

describe('pages', () => {
  const settings = { memberships: ['teams'], max_pages: 3 }

  it('are read to the end, and no link of an answer is followed', async () => {
    await using github = await Github.start()
    github.lists = { '/user/teams': [...numbered(250), { id: DBA }] }
    expect(await ask(github, { ...settings, ...member('/teams', DBA) })).toMatchObject({
      authorized: true,
    })
    expect(github.asked).toEqual([1, 2, 3].map((page) => `/user/teams?per_page=100&page=${page}`))
  })

  it('that are full end with an empty one', async () => {
    await using github = await Github.start()
    github.lists = { '/user/teams': numbered(200) }
    expect(await ask(github, { ...settings, ...member('/teams', 200) })).toMatchObject({
      authorized: true,
    })
    expect(github.asked).toHaveLength(3)
  })

  it('beyond the limit refuse the token, also where the membership was seen: limit_exceeded', async () => {
    await using github = await Github.start()
    github.lists = { '/user/teams': numbered(300) }
    expect(await ask(github, { ...settings, ...member('/teams', 1) })).toMatchObject({
      authorized: false,
      code: 'limit_exceeded',
    })
    expect(github.asked).toHaveLength(3)
  })

  it('of real size are not too much', async () => {
    await using github = await Github.start()
    const organization = Object.fromEntries(
      Array.from({ length: 60 }, (_, i) => [`member_${i}`, 'x'.repeat(40)]),
    )
    github.lists = {
      '/user/teams': Array.from({ length: 99 }, (_, i) => ({ id: i + 1, organization })),
    }
    expect(await ask(github, { ...settings, ...member('/teams', 99) })).toMatchObject({
      authorized: true,
    })
  })
})

describe('a token that may not see memberships', () => {
  const refusals: readonly (readonly [string, string, number, Record<string, string>])[] = [
    ['lacks read:org', 'insufficient_scope', 403, { 'x-ratelimit-remaining': '4999' }],
    ['was used too often', 'limit_exceeded', 403, { 'x-ratelimit-remaining': '0' }],
    ['was used too fast', 'limit_exceeded', 403, { 'retry-after': '60' }],
    ['was used much too fast', 'limit_exceeded', 429, {}],
    ['lacks read:org, and is not told so', 'insufficient_scope', 404, {}],
    ['was revoked a moment ago', 'token_inactive', 401, {}],
  ]
  for (const [name, code, status, headers] of refusals) {
    it(`because it ${name} is refused, and keeps nobody else out: ${code}`, async () => {
      await using github = await Github.start()
      await using runner = await start(github, { breaker: { failures: 2 } })
      github.answer((response) => response.writeHead(status, headers).end('[{"id":9919}]'))
      for (let i = 0; i < 5; i += 1) {
        expect(await runner.run(`${TOKEN}${i}`, { scope: ['read:org'] })).toMatchObject({
          authorized: false,
          code,
        })
      }
      github.answer((response) => json(response, []))
      expect(await runner.run(`${TOKEN}x`, { scope: ['read:org'] })).toMatchObject({
        authorized: true,
      })
    })
  }

  const faults: readonly (readonly [string, string, (response: ServerResponse) => unknown])[] = [
    ['an object', 'provider_bad_response', (r) => json(r, { id: ACME })],
    ['numbers', 'provider_bad_response', (r) => json(r, [ACME])],
    ['a membership without a number', 'provider_bad_response', (r) => json(r, [{ login: 'acme' }])],
    ['a number as text', 'provider_bad_response', (r) => json(r, [{ id: String(ACME) }])],
    [
      'a number twice',
      'provider_bad_response',
      (r) => r.writeHead(200, { 'content-type': 'application/json' }).end('[{"id":1,"id":9919}]'),
    ],
    [
      'two lists',
      'provider_bad_response',
      (r) => r.writeHead(200, { 'content-type': 'application/json' }).end('[],[{"id":9919}]'),
    ],
    [
      'HTML',
      'provider_bad_response',
      (r) => r.writeHead(200, { 'content-type': 'text/html' }).end('[{"id":9919}]'),
    ],
    [
      'megabytes',
      'provider_bad_response',
      (r) =>
        r
          .writeHead(200, { 'content-type': 'application/json' })
          .end(`[{"id":9919,"x":"${'y'.repeat(1_100_000)}"}]`),
    ],
    ['a redirect', 'provider_bad_response', (r) => r.writeHead(302, { location: '/' }).end()],
    ['nothing', 'provider_bad_response', (r) => r.writeHead(204).end()],
    ['status 502', 'provider_unavailable', (r) => r.writeHead(502).end()],
  ]
  for (const [name, code, respond] of faults) {
    it(`because the answer is ${name} gets no answer: ${code}`, async () => {
      await using github = await Github.start()
      github.answer((response) => {
        respond(response)
      })
      await expect(ask(github)).rejects.toMatchObject({ code })
    })
  }
})

describe('the settings', () => {
  const none = { memberships: undefined }
  it('do not speak of memberships that are not asked for', async () => {
    await using github = await Github.start()
    const rows: readonly (readonly [Record<string, unknown>, string])[] = [
      [{ ...none, ...member('/organizations', ACME) }, '"/organizations" is only there with'],
      [{ memberships: ['organizations'], ...member('/teams', DBA) }, 'memberships = ["teams"]'],
      [{ ...none, claim_rules: [{ path: '/teams', op: 'absent' }] }, 'memberships = ["teams"]'],
      [{ ...none, authorization: { claim: '/teams' } }, 'memberships = ["teams"]'],
      [{ ...none, identity: { claims: ['/teams'] } }, 'memberships = ["teams"]'],
      [
        { ...none, identity: { format: 'template', template: 'x:{organizations}' } },
        'memberships = ["organizations"]',
      ],
    ]
    for (const [settings, problem] of rows) {
      await expect(start(github, settings)).rejects.toThrow(problem)
    }
    await using _ = await start(github, { ...none, ...member('/login', 1) })
    expect(github.asked).toEqual([])
  })
  it('nor does a rule', async () => {
    await using github = await Github.start()
    const rule = {
      place: 'pg_hba.conf:3',
      issuer: github.server.issuer,
      scope: ['read:org'],
      delegateIdentMapping: true,
      options: { role_claim: '/teams' },
    }
    const settings = {
      provider: 'github',
      base_url: github.server.issuer,
      client_id: 'ours',
      client_secret: { file: 'secret' },
      http: { ca: 'ca.pem', egress: 'any' },
    }
    const load = (more: Record<string, unknown>): Promise<Runner> =>
      startValidator({
        init: opaque,
        settings: { ...settings, ...more },
        issuers: [github.server.issuer],
        rules: [rule],
        files: { secret: 's' },
      })
    await expect(load({})).rejects.toThrow('pg_hba.conf:3: the claim "/teams" is only there with')
    await using _ = await load({ memberships: ['teams'] })
  })
  it('name kinds of memberships that there are', async () => {
    await using github = await Github.start()
    await expect(start(github, { memberships: ['repositories'] })).rejects.toThrow('memberships')
    await expect(start(github, { max_pages: 51 })).rejects.toThrow('max_pages')
    await expect(
      start(github, { provider: 'gitlab', application_uids: ['x'], client_id: undefined }),
    ).rejects.toThrow('memberships: unknown setting')
  })
})
