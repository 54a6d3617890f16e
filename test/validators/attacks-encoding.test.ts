/** spec/validators.md §8.1, "Encoding and structure": one row, one test. */
import { describe, expect, it } from 'vitest'
import { useJwt } from './support/jwt-fixture.ts'
import { encode } from './support/signing-key.ts'

const jwt = useJwt()
const { header, sign } = jwt
const json = (changes: Record<string, unknown> = {}): string =>
  JSON.stringify(jwt.server.claims(changes))
/** The claims as text, with something done to them that JSON.stringify would not do. */
const edited = (edit: (text: string) => string): string => sign(header(), edit(json()))
const inserted = (members: string): string => edited((text) => text.replace('{', `{${members},`))
const good = (): string => jwt.server.token()
const parts = (): [string, string, string] => good().split('.') as [string, string, string]

type Row = readonly [name: string, code: string, token: () => string]

function refuses(rows: readonly Row[]): void {
  for (const [name, code, token] of rows) {
    it(`refuses ${name}: ${code}`, async () => {
      expect(await jwt.refusal(token())).toBe(code)
    })
  }
}

describe('ENC-01: a token has three parts', () => {
  refuses([
    ['an empty token', 'malformed', () => ''],
    ['one dot', 'malformed', () => '.'],
    ['two dots', 'malformed', () => '..'],
    ['two parts', 'malformed', () => 'a.b'],
    ['no header', 'malformed', () => `.${parts()[1]}.${parts()[2]}`],
    ['no payload', 'malformed', () => `${parts()[0]}..${parts()[2]}`],
    ['four parts', 'malformed', () => `${good()}.x`],
    ['five parts', 'malformed', () => `${good()}.x.y`],
    ['six parts', 'malformed', () => `${good()}.x.y.z`],
    ['ten thousand dots', 'malformed', () => '.'.repeat(10_000)],
    ['a hundred thousand dots', 'limit_exceeded', () => '.'.repeat(100_000)],
  ])
})

describe('ENC-02 to ENC-05: a token has one spelling', () => {
  const characters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  /** The same bytes with other unused bits in the last character. */
  const respelled = (part: string): string => {
    const last = characters.indexOf(part.at(-1)!)
    return part.slice(0, -1) + characters[last ^ 1]
  }
  const change = (index: number, edit: (part: string) => string) => (): string => {
    const all = parts()
    all[index] = edit(all[index]!)
    return all.join('.')
  }
  for (const [index, name] of ['header', 'payload', 'signature'].entries()) {
    refuses([
      [`padding on the ${name}`, 'malformed', change(index, (part) => `${part}=`)],
      [`double padding on the ${name}`, 'malformed', change(index, (part) => `${part}==`)],
      ...[' ', '\t', '\r', '\n', '\u00a0', '\0'].map(
        (blank): Row => [
          `${JSON.stringify(blank)} inside the ${name}`,
          'malformed',
          change(index, (part) => `${part.slice(0, 5)}${blank}${part.slice(5)}`),
        ],
      ),
      [
        `${name} in the standard alphabet`,
        'malformed',
        change(index, (part) => `${part.slice(0, -4)}+/+/`),
      ],
    ])
  }
  it('refuses stray bits at the end of a part: malformed', async () => {
    // 64 bytes of signature leave four unused bits in the last character.
    expect(await jwt.refusal(change(2, respelled)())).toBe('malformed')
    const [, payload] = parts()
    const padded = sign(header(), `${Buffer.from(payload, 'base64url').toString()} `)
    for (let blanks = 1; blanks < 4; blanks += 1) {
      const spelled = sign(header(), json() + ' '.repeat(blanks)).split('.')
      if (spelled[1]!.length % 4 === 0) {
        continue
      }
      spelled[1] = respelled(spelled[1]!)
      expect(await jwt.refusal(spelled.join('.'))).toBe('malformed')
    }
    await jwt.accepted(padded)
  })
  it('refuses a trailing line end: malformed', async () => {
    expect(await jwt.refusal(`${good()}\n`)).toBe('malformed')
  })
})

describe('ENC-06: JSON is UTF-8', () => {
  const bytes = (...values: number[]): Buffer =>
    Buffer.concat([Buffer.from('{"x":"'), Buffer.from(values), Buffer.from('"}')])
  refuses([
    ['a byte order mark', 'malformed', () => sign(header(), `\ufeff${json()}`)],
    [
      'a byte order mark in the header',
      'malformed',
      () => sign(`\ufeff${JSON.stringify(header())}`, json()),
    ],
    ['a broken sequence', 'malformed', () => sign(header(), bytes(0xc3, 0x28))],
    ['an overlong sequence', 'malformed', () => sign(header(), bytes(0xc0, 0xaf))],
    ['an encoded surrogate', 'malformed', () => sign(header(), bytes(0xed, 0xa0, 0x80))],
    ['UTF-16', 'malformed', () => sign(header(), Buffer.from(json(), 'utf16le'))],
  ])
})

describe('ENC-07 and ENC-08: header and payload are one JSON object each', () => {
  for (const value of ['[]', '"x"', '1', 'null', 'true', '']) {
    refuses([
      [`the payload ${value}`, 'malformed', () => `${encode(header())}.${encode(value)}.AAAA`],
      [`the header ${value}`, 'malformed', () => `${encode(value)}.${encode(json())}.AAAA`],
    ])
  }
  refuses([
    ['trailing text', 'malformed', () => edited((text) => `${text}x`)],
    ['two objects', 'malformed', () => edited((text) => text + text)],
    ['a comment', 'malformed', () => edited((text) => `/* hi */${text}`)],
    ['NaN', 'malformed', () => inserted('"x":NaN')],
    ['Infinity', 'malformed', () => inserted('"x":Infinity')],
    ['single quotes', 'malformed', () => edited((text) => text.replaceAll('"', "'"))],
    ['a trailing comma', 'malformed', () => edited((text) => text.replace(/\}$/, ',}'))],
  ])
})

describe('ENC-09: no member appears twice', () => {
  const head = (members: string): string =>
    sign(JSON.stringify(header()).replace('{', `{${members},`), json())
  refuses([
    ['sub twice', 'malformed', () => inserted('"sub":"admin"')],
    ['aud twice', 'malformed', () => inserted('"aud":"x"')],
    ['exp twice', 'malformed', () => inserted('"exp":9999999999')],
    ['an escaped spelling of sub', 'malformed', () => inserted('"s\\u0075b":"admin"')],
    ['a duplicate deep inside', 'malformed', () => inserted('"x":[{"y":{"a":1,"a":1}}]')],
    ['__proto__ twice', 'malformed', () => inserted('"__proto__":1,"__proto__":2')],
    ['alg twice', 'malformed', () => head('"alg":"none"')],
    ['kid twice', 'malformed', () => head('"kid":"x"')],
    ['typ twice', 'malformed', () => head('"typ":"JWT"')],
  ])
  it('counts no colon inside a string', async () => {
    await jwt.accepted(jwt.server.token({ note: 'a:b"c\\":d', 'urn:x': { 'a:b': ':' } }))
  })
})

describe('ENC-10: no name resembles a registered claim', () => {
  for (const name of [
    'SUB',
    'Sub',
    '\u017fub',
    '\uff53\uff55\uff42',
    'ISS',
    'Exp',
    'AUD',
    'Scope',
  ]) {
    refuses([
      [`the claim ${JSON.stringify(name)}`, 'malformed', () => jwt.server.token({ [name]: 'x' })],
    ])
  }
  refuses([['the header ALG', 'malformed', () => jwt.server.token({}, { ALG: 'none' })]])
  it('has nothing against other names in capitals', async () => {
    await jwt.accepted(jwt.server.token({ 'https://example.com/Roles': ['x'], deptNo: 4 }))
  })
})

describe('ENC-11: names of Object.prototype are names like any other', () => {
  it('ignores __proto__, constructor and toString as claims', async () => {
    const token = inserted('"__proto__":{"sub":"admin","x":1},"constructor":"x","toString":"y"')
    expect((await jwt.accepted(token)).authnId).toBe('alice')
    expect(({} as Record<string, unknown>)['x']).toBeUndefined()
  })
})

describe('ENC-12 to ENC-14: what is too big is refused before it is decoded', () => {
  const nested = (depth: number): string => `"x":${'['.repeat(depth)}${']'.repeat(depth)}`
  refuses([
    ['a token of 16385 characters', 'limit_exceeded', () => 'a'.repeat(16_385)],
    ['a token of 64 KiB', 'limit_exceeded', () => 'a.'.repeat(32_768)],
    ['a token of 2 MB', 'limit_exceeded', () => 'a'.repeat(2_000_000)],
    [
      'a header above its limit',
      'limit_exceeded',
      () => jwt.server.token({}, { x: 'y'.repeat(4_000) }),
    ],
    [
      'a payload above its limit',
      'limit_exceeded',
      () => jwt.server.token({ x: ['y'.repeat(4_000), 'y'.repeat(4_000), 'y'.repeat(2_000)] }),
    ],
    ['a depth of 17', 'limit_exceeded', () => inserted(nested(16))],
    ['a depth of 2000', 'limit_exceeded', () => inserted(nested(2_000))],
    ['an array of 1025', 'limit_exceeded', () => jwt.server.token({ x: Array(1_025).fill(1) })],
    [
      '513 members',
      'limit_exceeded',
      () =>
        jwt.server.token(Object.fromEntries(Array.from({ length: 510 }, (_, i) => [`m${i}`, 1]))),
    ],
    ['a string of 4097', 'limit_exceeded', () => jwt.server.token({ x: 'y'.repeat(4_097) })],
  ])
  it('accepts what is just inside', async () => {
    await jwt.accepted(inserted(nested(15)))
    await jwt.accepted(jwt.server.token({ x: Array(1_024).fill(1) }))
    await jwt.accepted(jwt.server.token({ x: 'y'.repeat(4_096) }))
  })
})

describe('ENC-15 and ENC-16: other serializations are not tokens', () => {
  refuses([
    [
      'flattened JWS JSON',
      'malformed',
      () => {
        const [head, payload, signature] = parts()
        return JSON.stringify({ protected: head, payload, signature })
      },
    ],
    [
      'general JWS JSON',
      'malformed',
      () => JSON.stringify({ payload: parts()[1], signatures: [] }),
    ],
    ['a detached payload', 'malformed', () => `${parts()[0]}..${parts()[2]}`],
    ['a JWE', 'malformed', () => 'eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d'],
    ['an SD-JWT', 'malformed', () => `${good()}~WyJhIiwiYiIsImMiXQ~`],
    ['PASETO', 'malformed', () => 'v4.public.eyJzdWIiOiJhZG1pbiJ9'],
    ['a macaroon', 'malformed', () => 'MDAxY2xvY2F0aW9uIGh0dHA6Ly9leGFtcGxlLmNvbQo'],
    ['a nested token', 'header_rejected', () => jwt.server.token({}, { cty: 'JWT' })],
    ['compression', 'header_rejected', () => jwt.server.token({}, { zip: 'DEF' })],
  ])
})
