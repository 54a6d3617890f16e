import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { staticMemberships } from '../../src/auth-file/role-memberships.ts'
import type { ByteString } from '../../src/byte-string.ts'
import { compileHbaLines } from '../../src/hba/compile-hba-lines.ts'
import { findHbaLine } from '../../src/hba/find-hba-line.ts'
import type { HbaConnection } from '../../src/hba/hba-line.ts'
import type { HostNameResolver } from '../../src/hba/host-names.ts'
import { matchHbaLine } from '../../src/hba/match-hba-line.ts'
import { hbaLines } from './hba-text.ts'

const memberships = staticMemberships({ dev: ['a', 'b'], c: ['dev'] })

const resolver: HostNameResolver = {
  reverse: (address) =>
    address.startsWith('10.') ? Promise.resolve('ten.example') : Promise.reject(new Error('no')),
  forward: () => Promise.resolve(['10.0.0.1']),
}

const names = (...words: string[]): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 3 }).map((list) => list.join(','))

const octets = fc.constantFrom(
  '10.0.0.0',
  '10.0.0.1',
  '10.1.0.0',
  '11.0.0.0',
  '0.0.0.0',
  '255.255.255.255',
)
const groups = fc.constantFrom('::', '::1', '2001:db8::', '2001:db8::1', 'fe80::1', 'ffff:ffff::')

const network = fc.oneof(
  fc.tuple(octets, fc.integer({ min: 0, max: 32 })).map(([ip, bits]) => `${ip}/${bits}`),
  fc.tuple(groups, fc.integer({ min: 0, max: 128 })).map(([ip, bits]) => `${ip}/${bits}`),
  fc.constantFrom(
    'all',
    '10.0.0.0 255.0.255.0',
    'samehost',
    '10.0.0.1 255.255.0.0',
    '0.0.0.0/0',
    '::/0',
  ),
)

const line = (addresses: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.constantFrom('local', 'host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc'),
      names('all', 'a', 'b', 'c', 'replication', 'sameuser', 'samerole', '/^a'),
      names('all', 'a', 'b', 'c', 'a', 'b', '+dev', '/b$'),
      addresses,
    )
    .map(([type, database, user, address]) =>
      type === 'local'
        ? `local ${database} ${user} trust`
        : `${type} ${database} ${user} ${address} trust`,
    )

const connection: fc.Arbitrary<HbaConnection> = fc
  .record({
    address: fc.option(fc.oneof(octets, groups), { nil: undefined, freq: 6 }),
    tls: fc.boolean(),
    user: fc.constantFrom('a', 'b', 'c', 'd', 'ab'),
    database: fc.constantFrom('a', 'b', 'c', 'd', 'replication'),
    physicalReplication: fc.constantFrom(false, false, false, true),
  })
  .map((it) => ({
    ...it,
    local: it.address === undefined,
    user: it.user as ByteString,
    database: it.database as ByteString,
  }))

describe('compiled rules', () => {
  test('decide as the linear scan does', () => {
    fc.assert(
      fc.property(
        fc.array(line(network), { minLength: 1, maxLength: 60 }),
        fc.array(connection, { minLength: 20, maxLength: 20 }),
        (text, connections) => {
          const lines = hbaLines(text.join('\n'))
          const compiled = compileHbaLines(lines, 0)
          for (const it of connections) {
            expect(compiled.match(it, memberships)?.line).toBe(
              matchHbaLine(lines, it, memberships)?.line,
            )
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  test('ask for host names exactly when the linear scan does', async () => {
    const addresses = fc.oneof(network, fc.constantFrom('ten.example', '.example', 'other.example'))
    await fc.assert(
      fc.asyncProperty(
        fc.array(line(addresses), { minLength: 1, maxLength: 20 }),
        connection,
        async (text, it) => {
          const lines = hbaLines(text.join('\n'))
          const compiled = await compileHbaLines(lines, 0).find(it, { memberships, resolver })
          const linear = await findHbaLine(lines, it, { memberships, resolver })
          expect(compiled).toEqual(linear)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('leave few rules to the linear scan and lots of pairs as well', () => {
    const many = Array.from({ length: 70 }, (_, at) => `n${at}`).join(',')
    const lines = hbaLines(`local ${many} ${many} trust\nlocal all all reject`)
    const one: HbaConnection = {
      local: true,
      tls: false,
      user: 'n3' as ByteString,
      database: 'n69' as ByteString,
      physicalReplication: false,
    }
    for (const threshold of [0, 3]) {
      const compiled = compileHbaLines(lines, threshold)
      expect(compiled.match(one)?.line).toBe(1)
      expect(compiled.match({ ...one, user: 'x' as ByteString })?.line).toBe(2)
    }
  })
})
