import { describe, expect, it } from 'vitest'
import { parseErrorChallenge } from '../../../src/client/exchange/error-challenge.ts'
import {
  checkAnnouncement,
  configuredIssuer,
  issuerOfDiscoveryUrl,
} from '../../../src/client/exchange/discovery-url.ts'
import {
  KVSEP,
  discoveryResponse,
  tokenResponse,
} from '../../../src/client/exchange/initial-response.ts'
import { parseRequireAuth } from '../../../src/client/exchange/require-auth.ts'
import { OAuthProtocolError, TokenConfigError } from '../../../src/client/errors.ts'

const json = (text: string): Buffer => Buffer.from(text)

describe('what the client says', () => {
  it('G1: is exactly what RFC 7628 says', () => {
    expect(tokenResponse('abc').toString('latin1')).toBe('n,,\x01auth=Bearer abc\x01\x01')
    expect(discoveryResponse().toString('latin1')).toBe('n,,\x01auth=\x01\x01')
    expect([...KVSEP]).toEqual([1])
  })

  it('G14: never holds a token that could end its field or is no token', () => {
    const bad = ['a b', 'a\x01b', 'a\rb', 'a\nb', 'a,b', 'a\0b', 'ä', '', '****', 'a=b', '=']
    for (const token of bad) {
      const attempt = () => tokenResponse(token)
      expect(attempt).toThrow(OAuthProtocolError)
      if (token.length > 1) {
        expect(attempt).not.toThrow(token)
      }
    }
    for (const token of ['a', 'a=', 'a==', '-._~+/', 'Az09']) {
      expect(tokenResponse(token).includes(token)).toBe(true)
    }
  })

  it('G15: holds a token of 65,497 bytes and none that is longer', () => {
    expect(tokenResponse('x'.repeat(65_497))).toHaveLength(65_497 + 18)
    expect(() => tokenResponse('x'.repeat(65_498))).toThrow('longer than 65497 bytes')
  })
})

describe('the error challenge', () => {
  it('G4: is read as PostgreSQL writes it', () => {
    const text =
      '{ "status": "invalid_token", "openid-configuration": "https://i/.well-known/openid-configuration", "scope": "a b" }'
    expect(parseErrorChallenge(json(text))).toEqual({
      status: 'invalid_token',
      scope: 'a b',
      discoveryUrl: 'https://i/.well-known/openid-configuration',
    })
  })

  it('G7: ignores fields it does not know, duplicates and known names inside them included', () => {
    const text = '{"x":1,"x":{"status":"s"},"y":["status"],"status":"invalid_token"}'
    expect(parseErrorChallenge(json(text)).status).toBe('invalid_token')
  })

  it.each([
    ['', 'it is not JSON'],
    ['{', 'it is not JSON'],
    ['{"status":"a",}', 'it is not JSON'],
    ['{"status":"a"} x', 'it is not JSON'],
    ['[]', 'top-level element must be an object'],
    ['"invalid_token"', 'top-level element must be an object'],
    ['null', 'top-level element must be an object'],
    ['7', 'top-level element must be an object'],
    ['{"status":"a","status":"b"}', 'field "status" is duplicated'],
    ['{"status":"a","st\\u0061tus":"b"}', 'field "status" is duplicated'],
    ['{"status":"a","scope":"b","scope":"b"}', 'field "scope" is duplicated'],
    ['{"status":7}', 'field "status" must be a string'],
    ['{"status":null}', 'field "status" must be a string'],
    ['{"status":"a","scope":["b"]}', 'field "scope" must be a string'],
    ['{"status":"a","openid-configuration":{}}', 'field "openid-configuration" must be a string'],
    [`{"status":"a","x":${'['.repeat(8)}${']'.repeat(8)}}`, 'JSON is too deeply nested'],
    [`{"status":"a","x":${'{"y":'.repeat(8)}1${'}'.repeat(8)}}`, 'JSON is too deeply nested'],
    ['{"status":"a"\0}', 'embedded NULL'],
  ])('G7: %s is refused', (text, why) => {
    expect(() => parseErrorChallenge(json(text))).toThrow(OAuthProtocolError)
    expect(() => parseErrorChallenge(json(text))).toThrow(why)
  })

  it('G7: may be nested 8 deep, and brackets inside strings do not count', () => {
    const deep = `{"status":"a","x":${'['.repeat(7)}${']'.repeat(7)}}`
    expect(parseErrorChallenge(json(deep)).status).toBe('a')
    const quoted = `{"status":"a","x":"${'[{\\"'.repeat(20)}"}`
    expect(parseErrorChallenge(json(quoted)).status).toBe('a')
  })

  it('G7: must be UTF-8', () => {
    const bytes = Buffer.concat([json('{"status":"'), Buffer.from([0xff]), json('"}')])
    expect(() => parseErrorChallenge(bytes)).toThrow('not valid UTF-8')
  })

  it('G8: must have a status', () => {
    for (const text of ['{}', '{"scope":"a"}', '{"x":{"status":"invalid_token"}}']) {
      expect(() => parseErrorChallenge(json(text))).toThrow('without a status')
    }
  })
})

describe('the discovery URL', () => {
  it.each([
    ['https://h/.well-known/openid-configuration', 'https://h'],
    ['https://h/t/.well-known/openid-configuration', 'https://h/t'],
    ['https://h/.well-known/oauth-authorization-server', 'https://h'],
    ['https://h/.well-known/oauth-authorization-server/t', 'https://h/t'],
    ['https://h/.well-known/openid-configuration/t/u', 'https://h/t/u'],
    ['HTTPS://h//.well-known/openid-configuration', 'HTTPS://h/'],
  ])('G20: %s stands for %s', (url, issuer) => {
    expect(issuerOfDiscoveryUrl(url)).toBe(issuer)
  })

  it.each([
    ['http://h/.well-known/openid-configuration', 'must use HTTPS'],
    ['ftp://h/.well-known/openid-configuration', 'must use HTTPS'],
    ['//h/.well-known/openid-configuration', 'must use HTTPS'],
    ['https://h/.well-known/openid-configuration?a', 'query or fragment'],
    ['https://h/.well-known/openid-configuration#a', 'query or fragment'],
    ['https://h/openid-configuration', 'not a .well-known URI'],
    ['https://h/.well-known', 'not a .well-known URI'],
    ['https://h/.well-known/', 'unsupported .well-known suffix'],
    ['https://h/.well-known/jwks', 'unsupported .well-known suffix'],
    ['https://h/.well-known/openid-configurations', 'unsupported .well-known suffix'],
    ['https://h/.well-known/openid-configuration-x', 'unsupported .well-known suffix'],
    ['https://h/t/.well-known/openid-configuration/u', 'invalid format'],
    ['https://h/t/.well-known/oauth-authorization-server/', 'invalid format'],
  ])('G20: %s is refused', (url, why) => {
    expect(() => issuerOfDiscoveryUrl(url)).toThrow(OAuthProtocolError)
    expect(() => issuerOfDiscoveryUrl(url)).toThrow(why)
  })

  const at = (discoveryUrl: string | undefined, status = 'invalid_token') => ({
    status,
    discoveryUrl,
    scope: undefined,
  })
  const OF_I = 'https://i.example/t/.well-known/openid-configuration'

  it('G21: must stand for exactly the issuer that the user trusts', () => {
    expect(checkAnnouncement(at(OF_I), 'https://i.example/t').issuer).toBe('https://i.example/t')
    expect(checkAnnouncement(at(OF_I), OF_I).issuer).toBe('https://i.example/t')
    for (const issuer of [
      'https://i.example/t/',
      'https://i.example/T',
      'https://I.example/t',
      'https://i.example:443/t',
      'https://i.example',
      'https://evil.example/t',
    ]) {
      expect(() => checkAnnouncement(at(OF_I), issuer)).toThrow('is incompatible with')
    }
  })

  it('G23: must be there when it is needed', () => {
    expect(() => checkAnnouncement(at(undefined), 'https://i')).toThrow(
      'no discovery metadata was provided',
    )
  })

  it('I9, E19: may not move', () => {
    const moved = { previousUrl: 'https://i.example/.well-known/oauth-authorization-server/t' }
    expect(() => checkAnnouncement(at(OF_I), 'https://i.example/t', moved)).toThrow('has moved to')
  })

  it('D18: counts only with the status invalid_token', () => {
    expect(() => checkAnnouncement(at(OF_I, 'insufficient_scope'), 'https://i.example/t')).toThrow(
      'server rejected OAuth bearer token: "insufficient_scope"',
    )
  })

  it('C25: the configured issuer is an https URL without query or fragment', () => {
    for (const issuer of [
      'i.example',
      '',
      'http://i.example',
      'ftp://i.example',
      'https://i.example?x',
      'https://i.example#x',
      'https://u:p@i.example',
    ]) {
      expect(() => configuredIssuer(issuer)).toThrow(TokenConfigError)
    }
    expect(configuredIssuer('https://i.example/t')).toBe('https://i.example/t')
  })

  it('C25: the switch for an insecure issuer still parses the URL', () => {
    const rules = { allowInsecureIssuer: true }
    expect(configuredIssuer('http://127.0.0.1:7', rules)).toBe('http://127.0.0.1:7')
    for (const issuer of ['http://', 'ftp://i', 'http://i?x', 'nonsense']) {
      expect(() => configuredIssuer(issuer, rules)).toThrow(TokenConfigError)
    }
    expect(() => issuerOfDiscoveryUrl('http://i/x', rules)).toThrow('not a .well-known URI')
  })
})

describe('require_auth', () => {
  it.each([
    'oauth',
    'oauth,scram-sha-256',
    'password,oauth',
    'none,oauth',
    '!scram-sha-256',
    '!none',
  ])('G12: %s accepts OAuth', (text) => {
    expect(parseRequireAuth(text)('oauth')).toBe(true)
  })

  it.each(['!oauth', 'scram-sha-256', '!password,!oauth', 'none', '!oauth,!scram-sha-256'])(
    'G12: %s refuses OAuth',
    (text) => {
      expect(parseRequireAuth(text)('oauth')).toBe(false)
    },
  )

  it.each([
    ['oauth,oauth', 'more than once'],
    ['!none,!none', 'more than once'],
    ['oauth,!none', 'cannot be mixed with non-negative'],
    ['!none,oauth', 'cannot be mixed with negative'],
    ['', 'invalid require_auth value'],
    ['oauth,', 'invalid require_auth value'],
    ['OAuth', 'invalid require_auth value'],
    ['!!oauth', 'invalid require_auth value'],
  ])('G12: %s is no list', (text, why) => {
    expect(() => parseRequireAuth(text)).toThrow(TokenConfigError)
    expect(() => parseRequireAuth(text)).toThrow(why)
  })
})
