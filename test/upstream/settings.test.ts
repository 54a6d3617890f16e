import { describe, expect, test } from 'vitest'
import {
  connectOptions,
  describeServer,
  upstreamSettingsProblem,
} from '../../src/upstream/settings.ts'
import { upstreamSettings } from './support.ts'

describe('settings of the server behind', () => {
  test.each([
    ['verify-full without a root certificate', { sslmode: 'verify-full' }],
    ['verify-ca without a root certificate', { sslmode: 'verify-ca' }],
    ['the system’s roots without verify-full', { sslmode: 'verify-ca', sslrootcert: 'system' }],
    ['the system’s roots with require', { sslmode: 'require', sslrootcert: 'system' }],
    ['direct TLS that may be none', { sslmode: 'prefer', sslnegotiation: 'direct' }],
    ['direct TLS that is disabled', { sslmode: 'disable', sslnegotiation: 'direct' }],
    ['a certificate without a key', { sslmode: 'require', sslcert: 'x' }],
    ['a key without a certificate', { sslmode: 'require', sslkey: 'x' }],
  ] as const)('cannot be %s', (_what, change) => {
    expect(upstreamSettingsProblem(upstreamSettings(change))).toMatch(/ssl/)
  })

  test.each([
    { sslmode: 'disable' },
    { sslmode: 'require' },
    { sslmode: 'require', sslnegotiation: 'direct' },
    { sslmode: 'verify-ca', sslrootcert: 'x' },
    { sslmode: 'verify-full', sslrootcert: 'system' },
    { sslmode: 'require', sslcert: 'x', sslkey: 'y' },
    { sslmode: 'verify-full', host: '/run/postgresql' },
  ] as const)('can be %o', (change) => {
    expect(upstreamSettingsProblem(upstreamSettings(change))).toBeUndefined()
  })

  test('with a host that begins with a slash name a Unix socket', () => {
    const settings = upstreamSettings({ host: '/run/postgresql', port: 5433 })
    expect(connectOptions(settings)).toMatchObject({ path: '/run/postgresql/.s.PGSQL.5433' })
  })

  test('are shown with brackets around an IPv6 address', () => {
    expect(describeServer(upstreamSettings({ host: '::1', port: 1 }))).toBe('[::1]:1')
    expect(describeServer(upstreamSettings({ host: 'db', port: 1 }))).toBe('db:1')
  })
})
