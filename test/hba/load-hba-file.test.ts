import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { ConfigFileError } from '../../src/errors.ts'
import { loadHbaFile } from '../../src/hba/load-hba-file.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { hbaLines, parseHba } from './hba-text.ts'

const OAUTH = 'oauth issuer=https://i.example scope="openid email"'

const messages = (text: string, context?: Parameters<typeof parseHba>[1]): string[] =>
  parseHba(text, context).errors.map(({ message }) => message)

describe('an oauth rule', () => {
  test('keeps every option, of repeated ones the last', () => {
    const [line] = hbaLines(
      `hostssl all all all ${OAUTH} map=a map=m validator=jwt validator.aud=x,validator.aud="y z" validator.a-b_1= clientcert=verify-ca clientname=DN token_in_password=1 issuer="a b"`,
    )
    expect(line).toMatchObject({
      method: 'oauth',
      map: 'm',
      clientCert: 'verify-ca',
      clientName: 'DN',
    })
    expect(line?.oauth).toEqual({
      issuer: 'a b',
      scope: 'openid email',
      validator: 'jwt',
      delegateIdentMapping: false,
      tokenInPassword: true,
      validatorOptions: new Map([
        ['aud', 'y z'],
        ['a-b_1', ''],
      ]),
    })
  })

  test.each([
    ['1', true],
    ['true', false],
    ['on', false],
    ['yes', false],
    ['01', false],
    ['', false],
  ])('with delegate_ident_mapping=%s delegates: %s', (value, expected) => {
    const [line] = hbaLines(`local all all ${OAUTH} delegate_ident_mapping=${value}`)
    expect(line?.oauth?.delegateIdentMapping).toBe(expected)
  })

  test('takes the only validator there is', () => {
    expect(hbaLines(`local all all ${OAUTH}`)[0]?.oauth?.validator).toBe('jwt')
  })

  test.each([
    [[], '', 'parameter "oauth_validator_libraries" must be set for authentication method "oauth"'],
    [
      [],
      'validator=a',
      'parameter "oauth_validator_libraries" must be set for authentication method "oauth"',
    ],
    [
      ['a', 'b'],
      '',
      'authentication method "oauth" requires option "validator" to be set when "oauth_validator_libraries" contains multiple options',
    ],
    [['a'], 'validator=b', 'validator "b" is not permitted by "oauth_validator_libraries"'],
    [['a'], 'validator=A', 'validator "A" is not permitted by "oauth_validator_libraries"'],
    [['a'], 'validator=', 'validator "" is not permitted by "oauth_validator_libraries"'],
  ])('with the validators %j and %j is an error', (oauthValidatorLibraries, option, message) => {
    const context = { oauthValidatorLibraries, ssl: true }
    expect(messages(`local all all ${OAUTH} ${option}`, context)).toEqual([message])
  })

  test('has a discovery response that clients read: 1992 bytes and no more', () => {
    const rule = (length: number): string =>
      `local all all oauth issuer=/.well-known/ scope=${'s'.repeat(length)}`
    const fixed =
      '{ "status": "invalid_token", "openid-configuration": "/.well-known/", "scope": "" }'
    expect(messages(rule(1992 - fixed.length))).toEqual([])
    expect(messages(rule(1993 - fixed.length))).toEqual([
      'issuer and scope make an OAuth discovery response of 1993 bytes; clients read at most 1992',
    ])
    expect(messages(`local all all oauth issuer=x scope=${'"\\'.repeat(500)}`)[0]).toBeUndefined()
    expect(messages(`local all all oauth issuer=x scope="${'\\'.repeat(1000)}"`)).toHaveLength(1)
  })

  test.each(['host', 'hostnossl', 'hostgssenc', 'hostnogssenc'])(
    'takes no token in a password on %s lines',
    (type) => {
      expect(messages(`${type} all all all ${OAUTH} token_in_password=1`)).toEqual([
        'token_in_password can only be configured for "hostssl" and "local" rows',
      ])
    },
  )
})

describe('a rule that needs memberships', () => {
  const context = { oauthValidatorLibraries: [], ssl: true, memberships: 'none' as const }

  test.each(['local samerole all trust', 'local samegroup all trust', 'local all +dev trust'])(
    '%s is an error where there are none',
    (rule) => {
      expect(messages(rule, context)).toEqual([
        expect.stringMatching(/ needs role memberships, and no source of them is set$/),
      ])
      expect(messages(rule)).toEqual([])
    },
  )

  test('is not what only looks like one', () => {
    expect(messages('local "samerole",+x "+dev" trust', context)).toEqual([])
  })
})

describe('rules that cannot match', () => {
  test('load with a warning and without a number', () => {
    const file = parseHba(
      `hostssl all all all trust\nhostssl all all all ${OAUTH}\nhostgssenc all all all reject\nlocal all all trust`,
      { oauthValidatorLibraries: ['jwt'], ssl: false },
    )
    expect(file.errors).toEqual([])
    expect(file.warnings.map(({ line, message }) => [line, message])).toEqual([
      [1, 'hostssl record cannot match because SSL is disabled'],
      [2, 'hostssl record cannot match because SSL is disabled'],
      [3, 'hostgssenc record cannot match because GSSAPI is not supported by this build'],
    ])
    // PostgreSQL's view forgets the warning of an oauth rule.
    expect(file.rules.map(({ ruleNumber, error }) => [ruleNumber, error !== null])).toEqual([
      [null, true],
      [1, false],
      [null, true],
      [2, false],
    ])
  })
})

test('all errors of all files come at once, those of reading first', async () => {
  const directory = await temporaryDirectory()
  await directory.write('more', 'local all\n')
  const path = await directory.write(
    'pg_hba.conf',
    'nonsense\ninclude more\ninclude missing\nlocal all all trust\nlocal all all trust x=1\n',
  )
  const { errors, lines, rules } = loadHbaFile(path, { oauthValidatorLibraries: [], ssl: true })
  expect(errors.map(({ located }) => located.replaceAll(`${directory.path}/`, ''))).toEqual([
    'pg_hba.conf:3: could not open file "missing": No such file or directory',
    'pg_hba.conf:1: invalid connection type "nonsense"',
    'more:1: end-of-line before role specification',
    'pg_hba.conf:5: unrecognized authentication option name: "x"',
  ])
  expect(lines.map(({ line, ruleNumber }) => [line, ruleNumber])).toEqual([[4, 1]])
  expect(rules.map(({ lineNumber, ruleNumber }) => [lineNumber, ruleNumber])).toEqual([
    [1, null],
    [1, null],
    [3, null],
    [4, 1],
    [5, null],
  ])
})

test('a file without rules is an error', async () => {
  const directory = await temporaryDirectory()
  const path = await directory.write('pg_hba.conf', '# nothing\n')
  const { errors } = loadHbaFile(path, { oauthValidatorLibraries: [], ssl: true })
  expect(errors.map(({ message, line }) => [message, line])).toEqual([
    [`configuration file "${path}" contains no entries`, undefined],
  ])
})

const WORDS = [
  ['local', 'host', 'hostssl', 'all', 'trust', 'oauth', 'cert', 'upstream', '+x', '/a(', '/a'],
  ['1.2.3.4', '1.2.3.4/8', '::/0', 'x=', 'issuer=', 'scope=', '__proto__=', 'map=m', ','],
].flat()

test('no words make it throw anything but its own errors', () => {
  const word = fc.oneof(
    fc.constantFrom(...WORDS),
    fc
      .array(
        fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
        {
          maxLength: 6,
        },
      )
      .map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), (words) => {
      const { errors, lines, rules } = parseHba(words.join(' '))
      expect(errors.every((error) => error instanceof ConfigFileError)).toBe(true)
      expect(rules.length).toBeGreaterThanOrEqual(lines.length)
    }),
    { numRuns: 3000 },
  )
})
