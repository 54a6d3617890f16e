/** Rules and maps that fast-check makes: well-formed, nearly well-formed and hostile. */
import * as fc from 'fast-check'

import type { Files } from './real-rules.ts'

const CONNECTION_TYPES = ['local', 'host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc']

const NAMES = [
  'all',
  'sameuser',
  'samerole',
  'samegroup',
  'replication',
  'db1',
  'alice',
  '+dev',
  '+',
  'a b',
  'ALL',
  '\xc3\xa9',
  '\xe9',
  '@users',
  '@empty',
  '@missing',
  '@',
  '@"users"',
  '',
  '/^a',
  '/',
  '/^[a-z]+$',
  '/(',
  '/a{2,1}',
  '/[[:foo:]]',
  '/(a)\\1',
  '/\\q',
  '/a\\',
  '*',
  'a=b',
]

const ADDRESSES = [
  'all',
  'samehost',
  'samenet',
  'ALL',
  '10.0.0.0/8',
  '10.1.2.3/8',
  '127.0.0.1/32',
  '0.0.0.0/0',
  '::/0',
  '::1/128',
  'fe80::1/10',
  '2001:db8::/32',
  '::ffff:1.2.3.4/96',
  '::1.2.3.4/96',
  '1:2:3:4:5:6:7:8/64',
  '1:0:0:2:0:0:0:3/64',
  'fe80::1%1/64',
  'fe80::1%lo/64',
  'fe80::1%nope/64',
  '::1%1/128',
  '127.1/32',
  '2130706433/32',
  '0x7f000001/32',
  '0177.0.0.1/32',
  '08.0.0.1/32',
  '256.0.0.1/32',
  '1.2.3.4.5/32',
  '1.2.65536/32',
  '4294967296/32',
  '1.2.3.4/33',
  '1.2.3.4/-1',
  '1.2.3.4/',
  '1.2.3.4/+8',
  '1.2.3.4/ 8',
  '1.2.3.4/08',
  '1.2.3.4/8x',
  '1.2.3.4/255.0.0.0',
  '::1/129',
  '127.0.0.1',
  '::1',
  'example.com',
  '.example.com',
  'example.com/32',
  '/32',
  '999.1.1.1/32',
  '1.2.3.4 255.255.0.0',
  '1.2.3.4 255.0.255.0',
  '1.2.3.4 ::',
  '::1 ffff::',
  '::1 ffff:ffff:ffff:ffff::',
  '1.2.3.4 mask',
  '1.2.3.4 ""',
  '1.2.3.4 255.0.0.0,255.0.0.0',
  '""',
  '10.0.0.0/8,11.0.0.0/8',
]

const METHODS = [
  ['trust', 'reject', 'trust', 'reject', 'cert', 'oauth', 'oauth', 'oauth', 'oauth'],
  ['md5', 'scram-sha-256', 'peer', 'ident', 'password', 'radius', 'TRUST', 'nope', ''],
].flat()

const OPTIONS = [
  'issuer=https://issuer.example',
  'scope="openid email"',
  'issuer=',
  'scope=',
  'scope==',
  'scope=a,b',
  'scope=y#z',
  'validator=one',
  'validator=two',
  'validator=ONE',
  'validator=',
  'validator.aud=x',
  'validator.=x',
  'map=m',
  'map=',
  'delegate_ident_mapping=1',
  'delegate_ident_mapping=true',
  'delegate_ident_mapping=0',
  'clientcert=verify-ca',
  'clientcert=verify-full',
  'clientcert=no',
  'clientname=CN',
  'clientname=DN',
  'clientname=cn',
  'pamservice=x',
  'pam_use_hostname=1',
  'ldapserver=x',
  'ldapport=0',
  'krb_realm=x',
  'include_realm=1',
  'compat_realm=1',
  'upn_username=0',
  'radiusports=1',
  'nope=1',
  'nope',
  '=1',
  '__proto__=1',
  'constructor=1',
  '',
]

const GOOD_OAUTH = ['oauth issuer=https://issuer.example scope="a b"', 'oauth scope= issuer=']

const DIRECTIVES = [
  'include inc/a.conf',
  'include inc/b.conf',
  'include inc/missing.conf',
  'include_if_exists inc/missing.conf',
  'include_if_exists inc/a.conf',
  'include_dir inc/d',
  'include_dir inc/none',
  'include_dir ""',
  'include "inc/a.conf"',
  '"include" inc/a.conf',
  'include inc/a.conf x',
  'include',
  'include ../data/inc/./d//x.conf',
  'include inc/loop.conf',
]

const blank = fc.constantFrom(' ', ' ', ' ', '\t', '  ', ' \t')

function word(words: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...words), fc.constantFrom('plain', 'plain', 'plain', 'quoted', 'half'))
    .map(([text, style]) => {
      const quoted = text.replaceAll('"', '""')
      if (style === 'quoted') {
        return `"${quoted}"`
      }
      return style === 'half' && text.length > 1 ? `${text[0] ?? ''}"${quoted.slice(1)}"` : text
    })
}

function list(words: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.array(word(words), { minLength: 1, maxLength: 3 }), fc.constantFrom(',', ', ', ',,'))
    .map(([items, comma]) => items.join(comma))
}

const options = fc.array(word(OPTIONS), { maxLength: 4 })

const methodAndOptions = fc.oneof(
  fc.tuple(word(METHODS), options).map(([method, rest]) => [method, ...rest].join(' ')),
  fc
    .tuple(fc.constantFrom(...GOOD_OAUTH), options)
    .map(([method, rest]) => [method, ...rest].join(' ')),
)

const GOOD_NAMES = [
  'all',
  'db1',
  'alice',
  '"a b"',
  '/^a',
  '"/^[a-z]{2,3}$"',
  '@users',
  '\xe9',
  'sameuser',
]
const GOOD_ADDRESSES = [
  ['all', 'samenet', '10.1.2.3/8', '127.1/32', '::1/128', 'fe80::1%1/64', '0x7f.1 255.0.255.0'],
  ['::1.2.3.4/96', '::ffff:1.2.3.4/96', '1:0:0:2::3/64', '.example.com', '"all"', '::1 ffff::'],
].flat()
const GOOD_METHODS = [
  ['trust', 'reject', 'oauth issuer=https://i.example scope="a b" validator=one'],
  ['oauth scope= issuer=https://i.example/.well-known/x map=m validator="one"'],
  ['oauth scope=s,issuer=x,validator=two,delegate_ident_mapping=1'],
  ['oauth scope=s issuer=x validator=two delegate_ident_mapping=0 map=m map="m 2"'],
].flat()
const GOOD_TLS_METHODS = [
  ['cert', 'cert map=m clientname=DN', 'cert clientcert=verify-full', 'trust clientcert=verify-ca'],
  ['oauth scope=s issuer=x validator=one clientcert=verify-full clientname=CN', ...GOOD_METHODS],
].flat()

const goodRule = fc
  .tuple(
    fc.constantFrom('local', 'host', 'hostssl', 'hostssl', 'hostnossl', 'hostnogssenc'),
    list(GOOD_NAMES),
    list(GOOD_NAMES),
    fc.constantFrom(...GOOD_ADDRESSES),
    fc.constantFrom(...GOOD_METHODS),
    fc.constantFrom(...GOOD_TLS_METHODS),
  )
  .map(([type, database, user, address, method, tlsMethod]) =>
    type === 'local'
      ? `local ${database} ${user} ${method}`
      : `${type} ${database} ${user} ${address} ${type === 'hostssl' ? tlsMethod : method}`,
  )

const anyRule = fc
  .tuple(
    fc.constantFrom(...CONNECTION_TYPES),
    list(NAMES),
    list(NAMES),
    fc.constantFrom(...ADDRESSES),
    methodAndOptions,
    blank,
  )
  .map(([type, database, user, address, rest, between]) =>
    (type === 'local' ? [type, database, user, rest] : [type, database, user, address, rest]).join(
      between,
    ),
  )

const rule = fc.oneof(goodRule, anyRule)

const IDENT_SYSTEM_USERS = [
  '/^(.*)@x$',
  '/^(.*)@(.*)$',
  '/(a|ab)(c|bcd)(d*)',
  'ann@x',
  'all',
  ...NAMES,
]
const IDENT_PG_USERS = ['\\1', 'x\\1y', '+\\1', '/\\1', 'all', '+dev', 'ann', ...NAMES]

const goodMapping = fc
  .tuple(
    fc.constantFrom('m', 'n', '"m n"'),
    fc.constantFrom('ann@x', '/^(.*)@x$', '"/^([a-z]{1,3})@"', '/^([^@]+)@(a|b)$', '\xe9', 'all'),
    fc.constantFrom('\\1', '"x\\1"', 'all', '+dev', '/^a', '"/^a{1,2}$"', 'ann', '"a b"'),
  )
  .map((words) => words.join('\t'))

const anyMapping = fc
  .tuple(
    list(['m', 'n', '""', '@users']),
    list(IDENT_SYSTEM_USERS),
    list(IDENT_PG_USERS),
    fc.constantFrom('', '', ' more', ' more,and more'),
    blank,
  )
  .map(([map, system, role, rest, between]) => [map, system, role].join(between) + rest)

const mapping = fc.oneof(goodMapping, anyMapping)

const SOUP = [
  ['"', '"', ',', ' ', '\t', '#', '\\', '\\\\', '@', '/', '=', '+', 'a', 'all', 'host'],
  ['local', 'trust', '127.0.0.1/32', '\xff', '\x01', '\x0b', '\x0c', '\xa0', '@users'],
].flat()

const soup = fc.array(fc.constantFrom(...SOUP), { maxLength: 14 }).map((parts) => parts.join(''))

/** Puts one hostile piece somewhere into a line. */
function damaged(line: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(
      line,
      fc.nat(),
      fc.constantFrom('"', '""', ',', '#', ' ', '\\\n', '\\\n\\\n', '\\', '@', '', '\0', '\x0b'),
    )
    .map(([text, at, piece]) => {
      const place = at % (text.length + 1)
      return text.slice(0, place) + piece + text.slice(place + (piece === '' ? 1 : 0))
    })
}

function fileOf(record: fc.Arbitrary<string>, maxLength: number): fc.Arbitrary<string> {
  const line = fc.oneof(
    { weight: 6, arbitrary: record },
    { weight: 3, arbitrary: damaged(record) },
    { weight: 1, arbitrary: soup },
    { weight: 1, arbitrary: fc.constantFrom(...DIRECTIVES) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('', '# comment', '# comment \\', '   ', ',', '""', '\\'),
    },
  )
  const end = fc.constantFrom('\n', '\n', '\n', '\r\n', ' \n')
  return fc
    .tuple(fc.array(fc.tuple(line, end), { maxLength }), fc.boolean())
    .map(([lines, ended]) => {
      const text = lines.flat().join('')
      return ended ? text : text.replace(/\n$/, '')
    })
}

const tokens = fc
  .array(
    fc.constantFrom('x', '"y z"', 'a,b', 'all', '\n', '# c\n', ' ', '@inner', '"@inner"', '+dev'),
    {
      maxLength: 6,
    },
  )
  .map((parts) => parts.join(' '))

function files(main: string, record: fc.Arbitrary<string>): fc.Arbitrary<Files> {
  return fc.record({
    [main]: fileOf(record, 8),
    'inc/a.conf': fileOf(record, 2),
    'inc/b.conf': fileOf(record, 2),
    'inc/loop.conf': fc.constantFrom(
      'include loop.conf',
      'include ../inc/loop.conf\nlocal all all trust',
    ),
    'inc/d/x.conf': fileOf(record, 1),
    'inc/d/10.conf': fileOf(record, 1),
    'inc/d/.hidden.conf': fc.constant('local a b trust'),
    'inc/d/x.config': fc.constant('local a b trust'),
    users: tokens,
    empty: fc.constantFrom('', '\n# nothing\n'),
    inner: fc.constantFrom('inner', 'in ner', '@missing', ''),
  })
}

export const hbaFiles: fc.Arbitrary<Files> = files('pg_hba.conf', rule)
export const identFiles: fc.Arbitrary<Files> = files('pg_ident.conf', mapping)
