import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OAuthProtocolError, TokenConfigError } from '../../../src/client/errors.ts'
import { parseOAuthConnectionString } from '../../../src/client/config/connection-string.ts'
import { issuerOfDiscoveryUrl } from '../../../src/client/exchange/discovery-url.ts'
import { parseErrorChallenge, scanJson } from '../../../src/client/exchange/error-challenge.ts'
import { OAuthBearerLogin } from '../../../src/client/exchange/oauth-bearer-login.ts'
import { parseRequireAuth } from '../../../src/client/exchange/require-auth.ts'
import { printable } from '../../../src/client/grants/printable.ts'
import { int32 } from '../../../src/protocol/message.ts'

/** Runs; an error must be of this class. */
function only<Value>(type: new (...args: never[]) => Error, run: () => Value): Value | undefined {
  try {
    return run()
  } catch (error) {
    expect(error).toBeInstanceOf(type)
    return undefined
  }
}

const challengeText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.json(),
  fc
    .record({ status: fc.json(), scope: fc.string(), x: fc.jsonValue() })
    .map((value) => JSON.stringify(value)),
)

describe('whatever a server sends', () => {
  it('G7: an error challenge is read or is a protocol error', () => {
    fc.assert(
      fc.property(challengeText, fc.uint8Array(), (text, bytes) => {
        for (const data of [Buffer.from(text), bytes]) {
          const challenge = only(OAuthProtocolError, () => parseErrorChallenge(data))
          if (challenge !== undefined) {
            expect(JSON.parse(Buffer.from(data).toString())).toHaveProperty('status')
          }
        }
      }),
    )
  })

  it('G7: keys and depth are those of the text', () => {
    const depth = (value: unknown): number =>
      typeof value === 'object' && value !== null
        ? 1 + Math.max(0, ...Object.values(value).map((inner) => depth(inner)))
        : 0
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), (value) => {
        const text = JSON.stringify(value)
        const scanned = scanJson(text)
        expect([...scanned.keys].sort()).toEqual(Object.keys(JSON.parse(text) as object).sort())
        expect(scanned.depth).toBe(depth(JSON.parse(text)))
      }),
    )
  })

  it('G20: a discovery URL has an issuer or is a protocol error', () => {
    const part = fc.constantFrom(
      'https://',
      'http://',
      'h',
      '/',
      '.well-known',
      'openid-configuration',
      'oauth-authorization-server',
      '?',
      '#',
      't',
      '//',
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const url = parts.join('')
        const issuer = only(OAuthProtocolError, () => issuerOfDiscoveryUrl(url))
        if (issuer !== undefined) {
          expect(url.toLowerCase().startsWith('https://')).toBe(true)
          expect(issuer).not.toMatch(/[?#]/)
          expect(issuer.length).toBeLessThan(url.length)
        }
      }),
    )
  })

  it('G5: no sequence of messages logs in but the right one', () => {
    const body = fc.oneof(
      fc
        .constantFrom(0, 3, 5, 10, 11, 12)
        .chain((code) =>
          fc.oneof(
            fc.constant(int32(code)),
            fc.constant(Buffer.concat([int32(code), Buffer.from('OAUTHBEARER\0\0')])),
            fc.constant(Buffer.concat([int32(code), Buffer.from('{"status":"invalid_token"}')])),
          ),
        ),
      fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
    )
    const message = fc.record({
      type: fc.oneof(
        { weight: 5, arbitrary: fc.constant('R') },
        fc.constantFrom('E', 'N', 'v', 'Z'),
      ),
      body,
    })
    fc.assert(
      fc.property(fc.array(message, { maxLength: 6 }), fc.boolean(), (messages, discovery) => {
        const login = new OAuthBearerLogin(parseRequireAuth('oauth'))
        let sent = false
        let challenged = false
        try {
          for (const one of messages) {
            const step = login.receive(one)
            if (step.kind === 'token-wanted') {
              if (discovery) {
                login.requestDiscovery()
              } else {
                login.sendToken('t')
                sent = true
              }
            }
            challenged ||= step.kind === 'send'
            if (step.kind === 'authenticated') {
              expect({ sent, challenged, method: step.method }).toEqual({
                sent: true,
                challenged: false,
                method: 'oauth',
              })
              return
            }
          }
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(
            /^ERR_(?:OAUTH_PROTOCOL|SERVER_REFUSED|TOKEN_REJECTED)$/,
          )
        }
      }),
      { numRuns: 5000 },
    )
  })

  it('J26: nothing that could move a cursor is printed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(text)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2028\u2029]/)
      }),
    )
  })
})

describe('whatever a user writes', () => {
  it('C26: a connection string is read or is a configuration error', () => {
    const part = fc.constantFrom(
      'host=h',
      'postgresql://',
      'u:p@',
      'h:1',
      '/d?',
      "'",
      '\\',
      '=',
      '&',
      '%',
      ' ',
      'oauth_issuer=x',
      'port=99999',
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 10 }), fc.string(), (parts, tail) => {
        only(TokenConfigError, () => parseOAuthConnectionString(parts.join('') + tail))
      }),
    )
  })

  it('C26: a value in quotes is the value', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const quoted = value.replace(/[\\']/g, (character) => `\\${character}`)
        const { scope } = parseOAuthConnectionString(`host=h oauth_scope='${quoted}' user=u`)
        expect(scope).toBe(value)
      }),
    )
  })

  it('C12: a value in a URI is the value', () => {
    fc.assert(
      fc.property(fc.string(), (value) => {
        const uri = `postgresql://h/?oauth_environment=azure&oauth_resource=${encodeURIComponent(value)}`
        expect(parseOAuthConnectionString(uri).source?.['resource']).toBe(value)
      }),
    )
  })
})
