/** One authorization server and one `jwt` validator for the rows of a table. */
import type { ValidatorResult } from 'pgbearer/validator'
import { afterAll, beforeAll, expect } from 'vitest'
import jwt from '../../../validators/jwt.ts'
import { AuthorizationServer } from './authorization-server.ts'
import { type Runner, startValidator, type TestRequest } from './run-validator.ts'
import { signJws } from './signing-key.ts'

export const AUDIENCE = 'https://db.example.com'

/** What every test of `jwt` needs and nothing else. */
export const SETTINGS = {
  audiences: [AUDIENCE],
  http: { ca: 'ca.pem', egress: 'any' },
} as const

export interface JwtFixture {
  readonly server: AuthorizationServer
  readonly runner: Runner
  /** Signs these texts or objects with the server's key: what no library would sign. */
  readonly sign: (header: unknown, payload: unknown) => string
  readonly header: (changes?: Record<string, unknown>) => Record<string, unknown>
  /** The code of a refusal; fails where the token is accepted. */
  refusal(token: string, request?: Partial<TestRequest>): Promise<string | undefined>
  accepted(token: string, request?: Partial<TestRequest>): Promise<ValidatorResult>
}

/** Starts both before the tests of a file or a block, and ends them after. */
export function useJwt(settings: Readonly<Record<string, unknown>> = {}): JwtFixture {
  let server: AuthorizationServer | undefined
  let runner: Runner | undefined
  beforeAll(async () => {
    server = await AuthorizationServer.start()
    runner = await startValidator({
      init: jwt,
      settings: { ...SETTINGS, ...settings },
      issuers: [server.issuer],
    })
  })
  afterAll(async () => {
    await runner?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
  })
  const fixture: JwtFixture = {
    get server() {
      return server!
    },
    get runner() {
      return runner!
    },
    header: (changes = {}) => ({
      alg: fixture.server.key.alg,
      kid: fixture.server.key.kid,
      typ: 'at+jwt',
      ...changes,
    }),
    sign: (header, payload) => signJws(header, payload, fixture.server.key, fixture.server.key.alg),
    async refusal(token, request) {
      const result = await fixture.runner.run(token, request)
      expect(result.authorized).toBe(false)
      expect(result.expiresAt).toBeUndefined()
      expectNoPartOf(token, [JSON.stringify(result), ...fixture.runner.lines])
      return result.code
    },
    async accepted(token, request) {
      const result = await fixture.runner.run(token, request)
      expect(result).toMatchObject({ authorized: true })
      return result
    },
  }
  return fixture
}

const SHORTEST_LEAK = 16

/** No text holds a part of the token that is long enough to be one. */
export function expectNoPartOf(token: string, texts: readonly string[]): void {
  const all = texts.join('\n')
  for (const part of token.split('.')) {
    for (let at = 0; at + SHORTEST_LEAK <= Math.min(part.length, 4_096); at += SHORTEST_LEAK) {
      expect(all.includes(part.slice(at, at + SHORTEST_LEAK))).toBe(false)
    }
  }
}
