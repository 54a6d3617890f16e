/**
 * The bundled modules in the conformance kit that is given to everybody's (`pgbearer/testing`), against an
 * authorization server that signs, introspects and tells whose a token is.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, test } from 'vitest'
import { type ConformanceOptions, validatorConformance } from '../../src/testing/index.ts'
import composite from '../../validators/composite.ts'
import introspection from '../../validators/introspection.ts'
import jwt from '../../validators/jwt.ts'
import opaque from '../../validators/opaque.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { testCertificates } from './support/certificates.ts'
import { signingKey, signJws } from './support/signing-key.ts'

type Claims = Record<string, unknown>

const AUDIENCE = 'https://db.example.com'
const SECRET = 'introspection-secret'
const GITHUB_APP = 'Iv1.app'

const directory = await mkdtemp(join(tmpdir(), 'pgbearer-conformance-'))
const files = { ca: join(directory, 'ca.pem'), secret: join(directory, 'secret') }
await writeFile(files.ca, (await testCertificates()).ca)
await writeFile(files.secret, SECRET)

const server = await AuthorizationServer.start()
server.metadata = { ...server.metadata, introspection_endpoint: `${server.issuer}/introspect` }
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await rm(directory, { recursive: true })
})

/** What the server knows about tokens; about every other it says that it is not active. */
const known = new Map<string, Claims>()

server.overrides.set('/introspect', (_request, response, body) => {
  const claims = known.get(new URLSearchParams(body).get('token') ?? '')
  json(response, claims === undefined ? { active: false } : { active: true, ...claims })
})
server.overrides.set('/userinfo', (request, response) => {
  const claims = known.get((request.headers.authorization ?? '').replace('Bearer ', ''))
  if (claims === undefined) {
    response.writeHead(401).end()
    return
  }
  json(response, { sub: claims['sub'], roles: claims['roles'] })
})
server.overrides.set(`/applications/${GITHUB_APP}/token`, (_request, response, body) => {
  const claims = known.get((JSON.parse(body) as { access_token: string }).access_token)
  if (claims === undefined) {
    response.writeHead(404).end()
    return
  }
  json(response, {
    app: { client_id: claims['aud'] },
    user: { id: claims['sub'], login: 'ali' },
    scopes: (claims['scope'] as string).split(' '),
    expires_at: new Date(Number(claims['exp']) * 1_000).toISOString(),
  })
})

const good = (changes: Claims): Claims => server.claims({ roles: ['alice', 'reports'], ...changes })

/** A signed token that introspection knows as well. */
function signed(changes: Claims = {}): string {
  const token = server.token(good(changes))
  known.set(token, good(changes))
  return token
}

/** A token that says nothing by itself. */
function unsaid(changes: Claims = {}, prefix = ''): string {
  const token = `${prefix}${randomBytes(24).toString('hex')}`
  known.set(token, good(changes))
  return token
}

const EXPIRED = { iat: 1_000, exp: 2_000 }
const http = { ca: files.ca, egress: 'any' }
const client = { method: 'bearer', client_id: 'db', token: { file: files.secret } }
const audiences = [AUDIENCE]

/** What all modules are told alike, with tokens made by `issue`. */
function about(
  issue: (changes?: Claims) => string,
  forged: () => string,
): Omit<ConformanceOptions, 'settings'> {
  return {
    issuer: server.issuer,
    scope: 'db',
    goodToken: issue,
    role: 'alice',
    authnId: 'alice',
    refused: {
      forged,
      expired: () => issue(EXPIRED),
      otherIssuer: () => issue({ iss: `${server.issuer}/` }),
      otherAudience: () => issue({ aud: `${AUDIENCE}/` }),
      insufficientScope: () => issue({ scope: 'd b dbs' }),
      withoutIdentity: () => issue({ sub: undefined }),
    },
    alsoRefused: {
      'a token that is bound to a key': () => issue({ cnf: { jkt: 'x' } }),
      'a token whose subject is a list': () => issue({ sub: ['alice'] }),
      'a token of ten years': () => issue({ exp: Math.floor(Date.now() / 1_000) + 315_360_000 }),
    },
    delegation: { foreignRole: 'bob', options: { role_claim: '/roles' } },
  }
}

function forgedJwt(): string {
  const { kid, alg } = server.key
  const token = signJws({ alg, kid, typ: 'at+jwt' }, good({}), signingKey(alg, kid), alg)
  // Whoever only asks would believe it.
  known.set(token, good({}))
  return token
}

describe('jwt', () => {
  validatorConformance(jwt, {
    test,
    ...about(signed, forgedJwt),
    settings: { audiences, http },
  })
})

describe('jwt that leaves roles to the map', () => {
  validatorConformance(jwt, {
    test,
    ...about(signed, forgedJwt),
    delegation: 'refused',
    settings: { audiences, http },
  })
})

describe('introspection', () => {
  validatorConformance(introspection, {
    test,
    ...about(unsaid, () => randomBytes(24).toString('hex')),
    settings: { audiences, client_auth: client, http },
  })
})

describe('opaque, with userinfo', () => {
  validatorConformance(opaque, {
    test,
    ...about(unsaid, () => randomBytes(24).toString('hex')),
    settings: {
      provider: 'userinfo',
      base_url: `${server.issuer}/userinfo`,
      introspection: { audiences, client_auth: client, http },
      http,
    },
  })
})

describe('opaque, with GitHub', () => {
  const issue = (changes: Claims = {}): string =>
    unsaid({ sub: 583231, aud: GITHUB_APP, ...changes }, 'gho_')
  validatorConformance(opaque, {
    test,
    ...about(issue, () => `gho_${randomBytes(24).toString('hex')}`),
    authnId: '583231',
    refused: {
      ...about(issue, issue).refused,
      forged: () => `gho_${randomBytes(24).toString('hex')}`,
      otherIssuer: { notApplicable: 'a token of GitHub names no issuer, and only GitHub is asked' },
      withoutIdentity: {
        notApplicable: 'GitHub that does not say whose a token is has failed: no decision is made',
      },
    },
    alsoRefused: {
      'a token of another kind': () => unsaid({ sub: 583231, aud: GITHUB_APP }, 'ghp_'),
    },
    delegation: 'refused',
    settings: {
      provider: 'github',
      base_url: server.issuer,
      client_id: GITHUB_APP,
      client_secret: { file: files.secret },
      http,
    },
  })
})

describe('composite, signature first and then the question', () => {
  validatorConformance(composite, {
    test,
    ...about(signed, forgedJwt),
    alsoRefused: {
      ...about(signed, forgedJwt).alsoRefused,
      'a token that was revoked': () => server.token(good({})),
    },
    settings: {
      issuers: [
        {
          issuer: server.issuer,
          jwt: { audiences, http },
          introspection: { audiences, client_auth: client, http },
        },
      ],
    },
  })
})
