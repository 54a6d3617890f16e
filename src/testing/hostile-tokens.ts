/**
 * Tokens that are made from a good one and must never be good themselves, and tokens that are good for
 * nothing. All are well-formed for RFC 6750, so that a module gets to see them.
 *
 * @module
 */
import { MAX_BEARER_TOKEN_LENGTH } from '../validator/run-validator-once.ts'

/** A token and what is wrong with it. */
export interface HostileToken {
  readonly what: string
  readonly token: string
}

const TOO_MANY_DOTS = 20_000

/** All of them; those that happen to be equal to the good token are left out. */
export function hostileTokens(good: string): readonly HostileToken[] {
  return [...nonsense(), ...damaged(good), ...forgedJwt(good)].filter(({ token }) => token !== good)
}

function nonsense(): readonly HostileToken[] {
  return [
    { what: 'a token of one character', token: 'x' },
    { what: 'a token of one dot', token: '.' },
    { what: 'two dots', token: '..' },
    { what: `${TOO_MANY_DOTS} dots`, token: '.'.repeat(TOO_MANY_DOTS) },
    { what: 'only padding', token: '=' },
    { what: 'a name that every object has', token: 'constructor' },
    { what: 'the name __proto__', token: '__proto__' },
    { what: 'a path', token: '../../../../etc/passwd' },
    { what: 'the longest token there can be', token: 'A'.repeat(MAX_BEARER_TOKEN_LENGTH) },
    { what: 'a JWT of empty objects', token: `${encode({})}.${encode({})}.AA` },
    {
      what: 'a JWT whose payload is null',
      token: `${encode({ alg: 'RS256' })}.${encode(null)}.AA`,
    },
    {
      what: 'a JWT whose payload is a list',
      token: `${encode({ alg: 'RS256' })}.${encode([])}.AA`,
    },
    { what: 'a JWT that is no JSON', token: 'eyJhbGciOiJSUzI1NiI.eyJzdWIiOiJhb.AA' },
    {
      what: 'a JWT of deep JSON',
      token: `${encode({ alg: 'RS256' })}.${base64url(`${'['.repeat(9000)}${']'.repeat(9000)}`)}.AA`,
    },
  ]
}

function damaged(good: string): readonly HostileToken[] {
  const middle = Math.floor(good.length / 2)
  return [
    { what: 'the good token without its end', token: good.slice(0, -4) },
    { what: 'the good token without its beginning', token: good.slice(4) },
    { what: 'the good token with more at its end', token: `${good.replace(/=+$/, '')}AAAA` },
    { what: 'the good token with more before it', token: `AAAA${good}` },
    { what: 'the good token twice', token: good.replace(/=+$/, '') + good },
    { what: 'half of the good token', token: good.slice(0, middle) },
    { what: 'the good token with one character changed', token: changed(good, middle) },
    { what: 'the good token in other case', token: otherCase(good) },
  ].filter(({ token }) => token !== '' && token.length <= MAX_BEARER_TOKEN_LENGTH)
}

function forgedJwt(good: string): readonly HostileToken[] {
  const [header, payload, signature, ...rest] = good.split('.')
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) {
    return []
  }
  const unsigned = (alg: unknown): string => `${encode({ alg, typ: 'JWT' })}.${payload}`
  const changedSignature = changed(signature, Math.floor(signature.length / 2))
  return [
    { what: 'a JWT without its signature', token: `${header}.${payload}.` },
    { what: 'a JWT of two parts', token: `${header}.${payload}` },
    { what: 'a JWT with a fourth part', token: `${good}.AA` },
    { what: 'a JWT with another signature', token: `${header}.${payload}.${changedSignature}` },
    { what: 'a JWT with a signature of zeros', token: `${header}.${payload}.${zeros(signature)}` },
    { what: 'a JWT with its payload changed', token: `${header}.${widened(payload)}.${signature}` },
    {
      what: 'a JWT with another header',
      token: `${encode({ alg: 'HS256' })}.${payload}.${signature}`,
    },
    ...['none', 'None', 'NONE', 'nOnE', '', null].map((alg) => ({
      what: `a JWT of algorithm ${JSON.stringify(alg)}`,
      token: `${unsigned(alg)}.`,
    })),
    {
      what: 'a JWT of algorithm "none" with the signature',
      token: `${unsigned('none')}.${signature}`,
    },
  ]
}

function changed(text: string, at: number): string {
  const replacement = text.charAt(at) === 'A' ? 'B' : 'A'
  return text.slice(0, at) + replacement + text.slice(at + 1)
}

function otherCase(text: string): string {
  const upper = text.toUpperCase()
  return upper === text ? text.toLowerCase() : upper
}

function zeros(signature: string): string {
  return Buffer.alloc(Buffer.from(signature, 'base64url').length).toString('base64url')
}

/** The same claims for longer, and for an administrator. */
function widened(payload: string): string {
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
    return typeof claims === 'object' && claims !== null
      ? encode({ ...claims, sub: 'postgres', exp: 9_999_999_999 })
      : encode({ sub: 'postgres' })
  } catch {
    return encode({ sub: 'postgres' })
  }
}

function encode(value: unknown): string {
  return base64url(JSON.stringify(value))
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url')
}
