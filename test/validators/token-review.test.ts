/** `introspection` with `mode = "tokenreview"`: the API server of a Kubernetes cluster is asked. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterEach, describe, expect, it, vi } from 'vitest'
import composite from '../../validators/composite.ts'
import introspection from '../../validators/introspection.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { expectNoPartOf } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'

const PATH = '/apis/authentication.k8s.io/v1/tokenreviews'
const OURS = 'token-of-our-own-service-account'
const AUDIENCE = 'postgres'
const WORKER = 'system:serviceaccount:app:worker'

interface Review {
  readonly apiVersion: string
  readonly kind: string
  readonly spec: { readonly token: string; readonly audiences?: readonly string[] }
}

type Status = Record<string, unknown>

/** Answers as an API server does: 201, with the question in the answer, and a reason for each no. */
class Cluster implements AsyncDisposable {
  readonly server: AuthorizationServer
  /** Pods that are gone, by their uid. */
  readonly gone = new Set<string>()
  readonly reviews: Review[] = []
  /** What `bearer` the API server knows us by. */
  ours = OURS
  /** Changes what is answered. */
  lie: (status: Status) => Status = (status) => status

  private constructor(server: AuthorizationServer) {
    this.server = server
    server.overrides.set(PATH, (request, response, body) => this.#review(request, response, body))
  }

  static async start(): Promise<Cluster> {
    return new Cluster(await AuthorizationServer.start())
  }

  get endpoint(): string {
    return `${this.server.issuer}${PATH}`
  }

  /** A projected token, as the kubelet puts it into a pod. */
  token(changes: Record<string, unknown> = {}, pod = 'pod-1'): string {
    return this.server.token(
      {
        aud: [AUDIENCE],
        sub: WORKER,
        client_id: undefined,
        scope: undefined,
        'kubernetes.io': {
          namespace: 'app',
          pod: { name: 'worker-0', uid: pod },
          serviceaccount: { name: 'worker', uid: 'sa-uid' },
        },
        ...changes,
      },
      { typ: undefined },
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]()
  }

  #review(request: IncomingMessage, response: ServerResponse, body: string): void {
    if (request.headers.authorization !== `Bearer ${this.ours}`) {
      send(response, 401, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 401 })
      return
    }
    const review = JSON.parse(body) as Review
    this.reviews.push(review)
    const status = this.lie(this.#status(review))
    send(response, 201, { ...review, metadata: {}, status })
  }

  #status({ spec }: Review): Status {
    const claims = JSON.parse(
      Buffer.from(spec.token.split('.')[1]!, 'base64url').toString(),
    ) as Record<string, unknown> & { aud: string[]; exp: number }
    const pod = (claims['kubernetes.io'] as { pod: { name: string; uid: string } }).pod
    const audiences = (spec.audiences ?? ['api']).filter((name) => claims.aud.includes(name))
    if (this.gone.has(pod.uid) || claims.exp < Date.now() / 1_000 || audiences.length === 0) {
      return { user: {}, error: '[invalid bearer token, token audiences or pod are not valid]' }
    }
    const user = {
      username: claims['sub'],
      uid: 'sa-uid',
      groups: ['system:serviceaccounts', 'system:serviceaccounts:app', 'system:authenticated'],
      extra: { 'authentication.kubernetes.io/pod-name': [pod.name] },
    }
    return { authenticated: true, user, audiences }
  }
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

const settings = (cluster: Cluster): Record<string, unknown> => ({
  mode: 'tokenreview',
  endpoint: cluster.endpoint,
  audiences: [AUDIENCE],
  client_auth: { method: 'bearer', token: { file: 'token' } },
  http: { ca: 'ca.pem', egress: 'any' },
})

const start = (cluster: Cluster, changes: Record<string, unknown> = {}): Promise<Runner> =>
  startValidator({
    init: introspection,
    settings: { ...settings(cluster), ...changes },
    issuers: [cluster.server.issuer],
    files: { token: `${OURS}\n` },
  })

/** The answer for one token, in one go. */
async function ask(
  cluster: Cluster,
  token: string,
  changes: Record<string, unknown> = {},
): ReturnType<Runner['run']> {
  await using runner = await start(cluster, changes)
  const result = await runner.run(token)
  expectNoPartOf(token, [JSON.stringify(result), ...runner.lines])
  return result
}

afterEach(() => {
  vi.useRealTimers()
})

describe('a TokenReview', () => {
  it('accepts the token of a service account for us, until it ends', async () => {
    await using cluster = await Cluster.start()
    const exp = Math.floor(Date.now() / 1_000) + 500
    expect(await ask(cluster, cluster.token({ exp }))).toEqual({
      authorized: true,
      authnId: WORKER,
      expiresAt: exp,
    })
  })

  it('asks for our audiences, in the words of Kubernetes and of no discovery', async () => {
    await using cluster = await Cluster.start()
    const token = cluster.token()
    await ask(cluster, token, { audiences: [AUDIENCE, 'db'] })
    expect(cluster.reviews).toEqual([
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: [AUDIENCE, 'db'] },
      },
    ])
    expect(cluster.server.total).toBe(1)
  })

  it('says that no scope is required', async () => {
    await using cluster = await Cluster.start()
    await using runner = await start(cluster)
    expect(runner.lines.join('\n')).toContain('allow_empty_scope = true')
    expect(await ask(cluster, cluster.token(), { scopes: ['db'] })).toMatchObject({
      code: 'insufficient_scope',
    })
  })

  it('can name the service account by its uid, too, and rules can be about the pod', async () => {
    await using cluster = await Cluster.start()
    const identity = { format: 'template', template: '{sub}/{uid}' }
    expect(await ask(cluster, cluster.token(), { identity })).toMatchObject({
      authnId: `${WORKER}/sa-uid`,
    })
    const rule = (path: unknown, op: string, value: string): unknown => ({ path, op, value })
    const pod = ['extra', 'authentication.kubernetes.io/pod-name']
    const good = [
      rule('/sub', 'prefix', 'system:serviceaccount:app:'),
      rule('/groups', 'contains', 'system:serviceaccounts:app'),
      rule(pod, 'contains', 'worker-0'),
    ]
    expect(await ask(cluster, cluster.token(), { claim_rules: good })).toMatchObject({
      authorized: true,
    })
    for (const bad of [
      rule('/sub', 'prefix', 'system:serviceaccount:other:'),
      rule('/groups', 'contains', 'system:masters'),
    ]) {
      expect(await ask(cluster, cluster.token(), { claim_rules: [bad] })).toMatchObject({
        code: 'claim_rule_failed',
      })
    }
  })

  it('believes the cluster about groups, and not the token', async () => {
    await using cluster = await Cluster.start()
    const authorization = { mode: 'role_claim', claim: '/groups' }
    await using runner = await start(cluster, { authorization })
    const token = cluster.token({ groups: ['owner'] })
    expect(await runner.run(token, { role: 'owner', delegateIdentMapping: true })).toMatchObject({
      code: 'role_not_granted',
    })
  })

  it('notices within ten seconds that the pod is gone', async () => {
    await using cluster = await Cluster.start()
    await using runner = await start(cluster)
    vi.useFakeTimers({ toFake: ['performance'] })
    const token = cluster.token()
    expect(await runner.run(token)).toMatchObject({ authorized: true })
    cluster.gone.add('pod-1')
    vi.advanceTimersByTime(9_999)
    expect(await runner.run(token)).toMatchObject({ authorized: true })
    vi.advanceTimersByTime(1)
    expect(await runner.run(token)).toMatchObject({ authorized: false, code: 'token_inactive' })
    expect(cluster.reviews).toHaveLength(2)
  })

  it('after the signature: both have to accept', async () => {
    await using cluster = await Cluster.start()
    const { issuer } = cluster.server
    const http = { ca: 'ca.pem', egress: 'any' }
    const jwt = {
      preset: { name: 'kubernetes-sa', namespace: 'app' },
      audiences: [AUDIENCE],
      http,
    }
    await using runner = await startValidator({
      init: composite,
      settings: { issuers: [{ issuer, jwt, introspection: settings(cluster) }] },
      issuers: [issuer],
      files: { token: OURS },
    })
    expect(await runner.run(cluster.token())).toMatchObject({ authorized: true, authnId: WORKER })
    cluster.gone.add('pod-2')
    expect(await runner.run(cluster.token({}, 'pod-2'))).toMatchObject({ code: 'token_inactive' })
  })
})

describe('a TokenReview refuses', () => {
  const tokens: readonly (readonly [string, string, Record<string, unknown>])[] = [
    ['a token for the API server', 'token_inactive', { aud: ['https://kubernetes.default.svc'] }],
    ['a token that has ended', 'token_inactive', { exp: 1_000, iat: 900 }],
    ['a token that never ends', 'missing_claim', { exp: undefined }],
    ['a bound token', 'sender_constrained', { cnf: { jkt: 'x' } }],
  ]
  for (const [name, code, changes] of tokens) {
    it(`${name}: ${code}`, async () => {
      await using cluster = await Cluster.start()
      expect(await ask(cluster, cluster.token(changes))).toMatchObject({ authorized: false, code })
    })
  }

  const answers: readonly (readonly [string, string, (status: Status) => Status])[] = [
    ['authenticated false', 'token_inactive', (s) => ({ ...s, authenticated: false })],
    ['authenticated "true"', 'token_inactive', (s) => ({ ...s, authenticated: 'true' })],
    ['authenticated missing', 'token_inactive', (s) => ({ ...s, authenticated: undefined })],
    ['an error alone', 'token_inactive', () => ({ error: 'the webhook is down' })],
    ['no audiences', 'wrong_audience', (s) => ({ ...s, audiences: undefined })],
    ['an empty list of audiences', 'wrong_audience', (s) => ({ ...s, audiences: [] })],
    ['other audiences', 'wrong_audience', (s) => ({ ...s, audiences: ['api'] })],
    ['ours with a blank', 'wrong_audience', (s) => ({ ...s, audiences: ['postgres '] })],
    ['audiences that are none', 'wrong_audience', (s) => ({ ...s, audiences: { postgres: true } })],
    [
      'another service account',
      'identity_invalid',
      (s) => ({ ...s, user: { username: 'system:serviceaccount:app:other' } }),
    ],
    ['an administrator', 'identity_invalid', (s) => ({ ...s, user: { username: 'admin' } })],
  ]
  for (const [name, code, lie] of answers) {
    it(`where the answer has ${name}: ${code}`, async () => {
      await using cluster = await Cluster.start()
      cluster.lie = lie
      expect(await ask(cluster, cluster.token())).toMatchObject({ authorized: false, code })
    })
  }

  it('a token whose own audience is another, whatever the answer says: wrong_audience', async () => {
    await using cluster = await Cluster.start()
    cluster.lie = () => ({
      authenticated: true,
      user: { username: WORKER },
      audiences: [AUDIENCE],
    })
    expect(await ask(cluster, cluster.token({ aud: ['api'] }))).toMatchObject({
      code: 'wrong_audience',
    })
    const exact = { audience_match: 'exact' }
    expect(await ask(cluster, cluster.token({ aud: [AUDIENCE, 'api'] }), exact)).toMatchObject({
      code: 'wrong_audience',
    })
  })

  it('tokens of others without asking', async () => {
    await using cluster = await Cluster.start()
    await using other = await Cluster.start()
    await using runner = await start(cluster)
    const legacy = cluster.token({
      iss: 'kubernetes/serviceaccount',
      aud: undefined,
      exp: undefined,
    })
    expect(await runner.run(other.token())).toMatchObject({ code: 'unknown_issuer' })
    expect(await runner.run(legacy)).toMatchObject({ code: 'unknown_issuer' })
    expect(await runner.run('an-opaque-token-of-somebody')).toMatchObject({ code: 'malformed' })
    expect(await runner.run(`${cluster.token()}.x`)).toMatchObject({ authorized: false })
    expect(cluster.server.total).toBe(0)
  })
})

describe('a TokenReview that is no answer', () => {
  const rows: readonly (readonly [string, string, (cluster: Cluster) => void])[] = [
    [
      'yes with an error',
      'provider_bad_response',
      (c) => (c.lie = (s) => ({ ...s, error: 'the audience could not be checked' })),
    ],
    ['yes without a user', 'provider_bad_response', (c) => (c.lie = (s) => ({ ...s, user: {} }))],
    [
      'yes for a number',
      'provider_bad_response',
      (c) => (c.lie = (s) => ({ ...s, user: { username: 7 } })),
    ],
    ['a Status instead', 'provider_bad_response', (c) => answer(c, 200, { kind: 'Status' })],
    [
      'of another version',
      'provider_bad_response',
      (c) =>
        answer(c, 201, {
          kind: 'TokenReview',
          apiVersion: 'authentication.k8s.io/v1beta1',
          status: { authenticated: true },
        }),
    ],
    [
      'without a status',
      'provider_bad_response',
      (c) => answer(c, 201, { kind: 'TokenReview', apiVersion: 'authentication.k8s.io/v1' }),
    ],
    ['accepted for later', 'provider_bad_response', (c) => answer(c, 202, {})],
    ['not our rights', 'provider_auth_failed', (c) => answer(c, 403, { kind: 'Status' })],
    ['not our token', 'provider_auth_failed', (c) => (c.ours = 'another')],
    ['an internal error', 'provider_unavailable', (c) => answer(c, 500, { kind: 'Status' })],
    ['a redirect', 'provider_bad_response', (c) => answer(c, 302, {})],
  ]
  const answer = (cluster: Cluster, status: number, value: unknown): void => {
    cluster.server.overrides.set(PATH, (_request, response) => send(response, status, value))
  }
  for (const [name, code, change] of rows) {
    it(`because it is ${name} fails: ${code}`, async () => {
      await using cluster = await Cluster.start()
      await using runner = await start(cluster)
      change(cluster)
      const token = cluster.token()
      const failure: unknown = await runner.run(token).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code })
      expectNoPartOf(token, [String(failure), ...runner.lines])
      expect(String(failure)).not.toContain(OURS)
    })
  }
})

describe('our own token', () => {
  it('is read again for each question, because Kubernetes replaces it', async () => {
    await using cluster = await Cluster.start()
    await using runner = await start(cluster, { cache: { positive: 0 } })
    expect(await runner.run(cluster.token())).toMatchObject({ authorized: true })
    cluster.ours = 'the-next-token-of-ours'
    await writeFile(join(runner.directory, 'token'), 'the-next-token-of-ours\n')
    expect(await runner.run(cluster.token())).toMatchObject({ authorized: true })
    await writeFile(join(runner.directory, 'token'), 'a\nb')
    await expect(runner.run(cluster.token())).rejects.toMatchObject({
      code: 'provider_unavailable',
    })
  })

  it('that is not there stops the start', async () => {
    await using cluster = await Cluster.start()
    const client_auth = { method: 'bearer', token: { file: 'nowhere' } }
    await expect(start(cluster, { client_auth })).rejects.toThrow('could not read "nowhere"')
  })
})

describe('the settings of a TokenReview', () => {
  const rows: readonly (readonly [string, Record<string, unknown>])[] = [
    ['audiences is required', { audiences: undefined }],
    [
      'allow_missing_audience cannot be set',
      {
        audiences: undefined,
        allow_missing_audience: true,
        allowed_clients: { claim: 'azp', values: ['x'] },
      },
    ],
    ['signed cannot be set', { signed: 'require' }],
    ['token_parameter cannot be set', { token_parameter: 'token' }],
    ['token_type_hint cannot be set', { token_type_hint: '' }],
    ['userinfo cannot be set', { userinfo: 'metadata' }],
    [
      'client_auth.method must be "bearer"',
      {
        client_auth: {
          method: 'client_secret_basic',
          client_id: 'x',
          client_secret: { file: 'token' },
        },
      },
    ],
    ['endpoint', { endpoint: 'http://kubernetes.default.svc/x' }],
    ['mode', { mode: 'token_review' }],
  ]
  for (const [problem, changes] of rows) {
    it(`say that ${problem}`, async () => {
      await using cluster = await Cluster.start()
      await expect(start(cluster, changes)).rejects.toThrow(problem)
      expect(cluster.server.total).toBe(0)
    })
  }
})
