import { describe, expect, it } from 'vitest'
import { introspectionSettings } from '../../validators/lib/introspection-settings.ts'
import { jwtSettings } from '../../validators/lib/jwt-settings.ts'
import { opaqueSettings } from '../../validators/lib/opaque-settings.ts'
import { parseSettings } from '../../validators/lib/settings/parse-settings.ts'
import { relaxations } from '../../validators/lib/settings/relaxations.ts'

const jwt = (table: Record<string, unknown>): unknown =>
  parseSettings(jwtSettings, { audiences: ['x'], ...table })

describe('a mistake in a table', () => {
  const rows: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ audiences: undefined }, 'audiences: is required'],
    [{ audiences: 'x' }, 'audiences: Invalid input: expected array, received string'],
    [{ audiences: [''] }, 'audiences.0: must not be empty'],
    [{ clock_tolerence: 1 }, 'clock_tolerence: unknown setting (did you mean "clock_tolerance"?)'],
    [{ clock_tolerance: '6min' }, 'clock_tolerance: must be at most 5min'],
    [{ clock_tolerance: '1 hour' }, 'clock_tolerance: must be a time such as'],
    [{ max_lifetime: 0 }, 'max_lifetime: must not be 0'],
    [{ keys: { refresh: 1 } }, 'keys.refresh: unknown setting'],
    [{ keys: { min_rsa_bits: 1024 } }, 'keys.min_rsa_bits: '],
    [{ identity: { claims: ['sub'] } }, 'identity.claims.0: must be a JSON Pointer'],
    [
      { identity: { format: 'template' } },
      'identity: format = "template" and template belong together',
    ],
    [{ identity: { format: 'template', template: 'x' } }, 'template must hold claims in braces'],
    [
      { identity: { format: 'template', template: '{org}{user}' } },
      'template must hold claims in braces with text between them',
    ],
    [
      { claim_rules: [{ path: '/x', op: 'matches', value: '.*' }] },
      'claim_rules.0.op: must be one of exists, absent, eq',
    ],
    [{ claim_rules: [{ path: '/x', op: 'eq' }] }, 'claim_rules.0.value: '],
    [{ token_type: { typ: [] } }, 'token_type: typ and marker must not both be empty'],
    [{ token_type: { typ: ['JWT'] } }, 'token_type: typ = "JWT" or "JOSE" says nothing'],
    [
      { token_type: { typ: ['application/jose'] } },
      'token_type: typ = "JWT" or "JOSE" says nothing',
    ],
    [{ keys: { uses: ['enc'] } }, 'keys.uses.0'],
    [
      { authorization: { mode: 'role_map', claim: '/x' } },
      'authorization: mode = "role_map" and map belong together',
    ],
    [{ scopes: ['a b'] }, 'scopes.0: must be a scope'],
    [{ issuer: 'file:///etc/passwd' }, 'issuer: must be an http(s) URL'],
    [{ http: { client_cert: 'x' } }, 'http: client_cert and client_key belong together'],
    [{ token_cache: { ttl: '2min' } }, 'token_cache.ttl: must be at most 60s'],
  ]
  for (const [table, message] of rows) {
    it(`is told as: ${message}`, () => {
      expect(() => jwt(table)).toThrow(message)
    })
  }
  it('is told with all the others', () => {
    expect(() => jwt({ a: 1, b: 2, audiences: [] })).toThrow(
      /audiences.*\n.*a: unknown.*\n.*b: unknown/s,
    )
  })
  it('never repeats a value, which may be a secret in the wrong place', () => {
    const client_auth = { method: 'client_secret_basic', client_id: 'x', client_secret: 'hunter2' }
    expect(() => parseSettings(introspectionSettings, { audiences: ['x'], client_auth })).toThrow(
      expect.not.stringContaining('hunter2') as Error,
    )
    expect(() => parseSettings(introspectionSettings, { audiences: ['x'], client_auth })).toThrow(
      'client_auth.client_secret: must be { file',
    )
  })
  it('names what it can where the kind of the table is not known', () => {
    expect(() => parseSettings(opaqueSettings, { no_such_setting: 1 })).toThrow(
      'provider: must be one of github, google, gitlab, userinfo\nno_such_setting: unknown setting',
    )
  })
})

describe('relaxations', () => {
  it('are the settings whose names say so, where they are on', () => {
    const settings = jwt({
      allow_empty_scope: true,
      allowed_clients: { claim: 'azp', values: ['x'] },
      authorization: { allow_privileged_roles: ['pg_monitor'] },
      http: { dangerously_allow_http: true },
    })
    expect(relaxations(settings as object)).toEqual([
      'allow_empty_scope = true',
      'authorization.allow_privileged_roles = ["pg_monitor"]',
      'http.dangerously_allow_http = true',
    ])
  })
  it('are none by default', () => {
    expect(relaxations(jwt({}) as object)).toEqual([])
  })
})
