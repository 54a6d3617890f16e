import { describe, expect, test } from 'vitest'

import { type ByteString, fromText } from '../../src/byte-string.ts'
import { discoveryResponse } from '../../src/protocol/oauth-discovery.ts'

const respond = (issuer: string, scope: string): string =>
  discoveryResponse(fromText(issuer), fromText(scope)).toString('latin1')

describe('the discovery response', () => {
  test('has PostgreSQL order and blanks, and no newline', () => {
    expect(respond('https://issuer.example', 'openid email')).toBe(
      '{ "status": "invalid_token", "openid-configuration": "https://issuer.example/.well-known/openid-configuration", "scope": "openid email" }',
    )
  })

  test.each([
    ['https://i.example/', 'https://i.example//.well-known/openid-configuration'],
    ['', '/.well-known/openid-configuration'],
    ['https://i.example/.well-known/oauth-authorization-server', undefined],
    ['https://i.example/.well-known/openid-configuration/tenant', undefined],
    [
      'https://i.example/.well-known',
      'https://i.example/.well-known/.well-known/openid-configuration',
    ],
    [
      'https://i.example/.WELL-KNOWN/x',
      'https://i.example/.WELL-KNOWN/x/.well-known/openid-configuration',
    ],
  ])('makes of the issuer %j a configuration address without normalising', (issuer, uri) => {
    expect(JSON.parse(respond(issuer, ''))['openid-configuration']).toBe(uri ?? issuer)
  })

  test('escapes as PostgreSQL does: short forms, lower-case hex, no slash, no DEL', () => {
    const scope = '\b\f\n\r\t"\\/\u0001\u001f\u007f'
    expect(respond('x', scope)).toContain(
      '"scope": "\\b\\f\\n\\r\\t\\"\\\\/\\u0001\\u001f\u007f" }',
    )
    expect(JSON.parse(respond('x', scope)).scope).toBe(scope)
  })

  test('copies bytes from 0x80 as they are', () => {
    const bytes = discoveryResponse('\xff\xc3\xa9' as ByteString, '' as ByteString)
    expect(bytes.includes(Buffer.from([0xff, 0xc3, 0xa9, 0x2f]))).toBe(true)
  })
})
