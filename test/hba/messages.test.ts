import { describe, expect, test } from 'vitest'

import { type ByteString, fromText } from '../../src/byte-string.ts'
import { explainHbaLine } from '../../src/hba/explain-hba-line.ts'
import type { HbaConnection } from '../../src/hba/hba-line.ts'
import { hbaRejectMessage, noHbaEntryMessage } from '../../src/hba/hba-messages.ts'
import { matchHbaLine } from '../../src/hba/match-hba-line.ts'
import { hbaLines } from './hba-text.ts'

const tcp: HbaConnection = {
  local: false,
  address: '10.0.0.9',
  tls: true,
  user: 'ann' as ByteString,
  database: 'app' as ByteString,
  physicalReplication: false,
}
const local = { ...tcp, local: true, address: undefined, tls: false }
const replication = { ...tcp, tls: false, physicalReplication: true }

describe('the refusal says', () => {
  test.each([
    [
      tcp,
      'no pg_hba.conf entry for host "10.0.0.9", user "ann", database "app", SSL encryption',
      'pg_hba.conf rejects connection for host "10.0.0.9", user "ann", database "app", SSL encryption',
    ],
    [
      local,
      'no pg_hba.conf entry for host "[local]", user "ann", database "app", no encryption',
      'pg_hba.conf rejects connection for host "[local]", user "ann", database "app", no encryption',
    ],
    [
      replication,
      'no pg_hba.conf entry for replication connection from host "10.0.0.9", user "ann", no encryption',
      'pg_hba.conf rejects replication connection for host "10.0.0.9", user "ann", no encryption',
    ],
    [
      { ...tcp, user: fromText('é'), database: '\xe9' as ByteString },
      'no pg_hba.conf entry for host "10.0.0.9", user "é", database "\\xe9", SSL encryption',
      'pg_hba.conf rejects connection for host "10.0.0.9", user "é", database "\\xe9", SSL encryption',
    ],
  ])('%j', (connection, noEntry, reject) => {
    expect(noHbaEntryMessage(connection)).toBe(noEntry)
    expect(hbaRejectMessage(connection)).toBe(reject)
  })
})

describe('a rule does not match because of its', () => {
  test.each([
    ['local all all trust', tcp, 'type'],
    ['host x x 1.1.1.1/32 trust', local, 'type'],
    ['hostnossl x x 1.1.1.1/32 trust', tcp, 'tls'],
    ['hostssl all all all trust', replication, 'tls'],
    ['hostgssenc x x 1.1.1.1/32 trust', tcp, 'gss'],
    ['host x x 1.1.1.1/32 trust', tcp, 'address'],
    ['host x x ::/0 trust', tcp, 'address'],
    ['host x x all trust', tcp, 'database'],
    ['host all all all trust', replication, 'database'],
    ['host all x all trust', tcp, 'user'],
    ['host all +app all trust', tcp, 'user'],
    ['host samerole all all trust', tcp, 'database'],
    ['host all all all trust', tcp, undefined],
  ])('%s', (rule, connection, field) => {
    expect(explainHbaLine(hbaLines(rule)[0]!, connection)).toBe(field)
  })

  test('host name, where somebody has looked it up', () => {
    const [line] = hbaLines('host all all h trust')
    expect(explainHbaLine(line!, tcp, { hasHostName: () => false })).toBe('address')
    expect(explainHbaLine(line!, tcp, { hasHostName: () => true })).toBeUndefined()
    expect(() => explainHbaLine(line!, tcp)).toThrow(TypeError)
  })
})

describe('a connection without a usable address', () => {
  test.each([undefined, '', 'x', '1.2.3.4:5'])('such as %j is nobody, not everybody', (address) => {
    expect(() => matchHbaLine(hbaLines('host all all all trust'), { ...tcp, address })).toThrow(
      TypeError,
    )
  })
})

test('this machine is in its own network', () => {
  const at = (address: string): HbaConnection => ({ ...tcp, address })
  const [host, net] = [
    hbaLines('host all all samehost trust'),
    hbaLines('host all all samenet trust'),
  ]
  expect(matchHbaLine(host, at('127.0.0.1'))).toBe(host[0])
  expect(matchHbaLine(host, at('127.0.0.2'))).toBeUndefined()
  expect(matchHbaLine(net, at('127.200.0.2'))).toBe(net[0])
  expect(matchHbaLine(net, at('203.0.113.1'))).toBeUndefined()
})
