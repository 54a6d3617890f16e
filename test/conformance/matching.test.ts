/**
 * Real connections to a real PostgreSQL 18 with generated `trust` and `reject` rules: the same verdict
 * and the same text from both.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { type RoleMemberships, staticMemberships } from '../../src/auth-file/role-memberships.ts'
import { fromText } from '../../src/byte-string.ts'
import { compileHbaLines } from '../../src/hba/compile-hba-lines.ts'
import type { HbaConnection } from '../../src/hba/hba-line.ts'
import { hbaRejectMessage, noHbaEntryMessage } from '../../src/hba/hba-messages.ts'
import { loadHbaFile } from '../../src/hba/load-hba-file.ts'
import { matchHbaLine } from '../../src/hba/match-hba-line.ts'
import { makeTestCertificates } from '../support/certificates.ts'
import { perFile } from '../support/per-file.ts'
import { sslRequest, startupMessage } from '../support/wire-bytes.ts'
import { type RealRules, startRealRules } from './real-rules.ts'
import { RUNS, SEED, TIMEOUT } from './runs.ts'

const MEMBERS = { dev: ['ann', 'ops'], ops: ['bob'], app: ['ann'] }
const ROLES = ['ann', 'bob', 'dev', 'ops', 'app', 'root']

// The catalog knows which roles there are: who is not there is not even a member of itself.
const known = new Set<string>(ROLES)
const table = staticMemberships(MEMBERS)
const memberships: RoleMemberships = {
  isMember: (role, group) => known.has(role) && known.has(group) && table.isMember(role, group),
}

const real = perFile(async () => {
  const rules = await startRealRules({}, (await makeTestCertificates()).server)
  for (const role of ROLES) {
    const flags = role === 'root' ? 'superuser' : role === 'bob' ? 'noinherit' : ''
    await rules.query(`create role ${role} login ${flags}`)
  }
  for (const [group, members] of Object.entries(MEMBERS)) {
    await rules.query(`grant ${group} to ${members.join(', ')}`)
  }
  return rules
})

/** Who connects, and from where. */
interface Visitor {
  readonly address: string | undefined
  readonly tls: boolean
  readonly user: string
  readonly database: string
  readonly replication: 'true' | 'database' | undefined
}

const names = (...words: readonly string[][]): fc.Arbitrary<string> =>
  fc
    .array(fc.constantFrom(...words.flat()), { minLength: 1, maxLength: 3 })
    .map((list) => list.join(','))

const databases = names(
  ['all', 'app', '"app"', 'dev', 'sameuser', 'samerole', 'samegroup', 'replication'],
  ['"replication"', '"all"', '/^a', '/^.$', '/^..$', '"/p$"', 'APP', '\u00e9'],
)
const users = names(
  ['all', 'ann', 'bob', 'root', '+dev', '+ops', '"+dev"', '+nobody', 'nobody', '/^(ann|bob)$'],
  ['/o', '"all"', '+ann', 'ANN', '"/^[[:alpha:]]{3,}$"'],
)
const addresses = fc.constantFrom(
  ...[
    ['all', '127.0.0.0/8', '127.1.0.0/16', '127.1.2.3/32', '127.1.2.3 255.0.255.255', '0.0.0.0/0'],
    ['::/0', 'samehost', 'samenet', '127.1/32', '10.0.0.0/8', '127.0.0.1/1', '127.255.255.255/9'],
  ].flat(),
)
const rule = fc
  .tuple(
    fc.constantFrom('local', 'host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc'),
    databases,
    users,
    addresses,
    fc.constantFrom('trust', 'reject'),
  )
  .map(([type, database, user, address, method]) =>
    [type, database, user, ...(type === 'local' ? [] : [address]), method].join(' '),
  )

const visitor: fc.Arbitrary<Visitor> = fc.record({
  address: fc.constantFrom(undefined, '127.0.0.1', '127.0.0.1', '127.1.2.3', '127.200.1.1'),
  tls: fc.boolean(),
  user: fc.constantFrom('ann', 'bob', 'dev', 'ops', 'root', 'nobody', 'all', '+dev', '\u00e9'),
  database: fc.constantFrom('app', 'dev', 'ann', 'replication', 'all', 'nodb', '\u00e9', 'bob'),
  replication: fc.constantFrom(undefined, undefined, undefined, 'true', 'database'),
})

async function nextByte(socket: Socket): Promise<void> {
  if (socket.readableLength === 0) {
    await once(socket, 'readable')
  }
}

async function open({ address, tls }: Visitor, { server }: RealRules): Promise<Socket> {
  if (address === undefined) {
    return connect(join(server.socketDirectory, `.s.PGSQL.${server.port}`))
  }
  const socket = connect({ host: '127.0.0.1', port: server.port, localAddress: address })
  if (!tls) {
    return socket
  }
  socket.write(sslRequest)
  await nextByte(socket)
  expect(String(socket.read(1))).toBe('S')
  return connectTls({ socket, rejectUnauthorized: false })
}

/** `in`, or the message of the refusal. */
async function realVerdict(who: Visitor, rules: RealRules): Promise<string> {
  const socket = await open(who, rules)
  const { user, database, replication } = who
  socket.write(
    startupMessage({ user, database, ...(replication === undefined ? {} : { replication }) }),
  )
  const chunks: Buffer[] = []
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer)
    const received = Buffer.concat(chunks)
    if (received.length >= 5 && received.length > received.readInt32BE(1)) {
      socket.destroy()
      const fields = received.toString('utf8', 5).split('\0')
      return received[0] === 'R'.charCodeAt(0)
        ? 'in'
        : (fields.find((field) => field.startsWith('M'))?.slice(1) ?? 'no message')
    }
  }
  return 'closed'
}

function connectionOf(who: Visitor): HbaConnection {
  return {
    local: who.address === undefined,
    address: who.address,
    tls: who.tls && who.address !== undefined,
    user: fromText(who.user),
    database: fromText(who.database),
    physicalReplication: who.replication === 'true',
  }
}

function ourVerdict(who: Visitor, rules: RealRules): string {
  const { lines, errors } = loadHbaFile(rules.hbaFile, { ssl: true, oauthValidatorLibraries: [] })
  expect(errors).toEqual([])
  const connection = connectionOf(who)
  const line = matchHbaLine(lines, connection, memberships)
  expect(compileHbaLines(lines, 0).match(connection, memberships)).toBe(line)
  if (line === undefined) {
    return noHbaEntryMessage(connection)
  }
  return line.method === 'trust' ? 'in' : hbaRejectMessage(connection)
}

test(
  'decides about real connections as PostgreSQL does, in the same words',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(rule, { minLength: 1, maxLength: 8 }),
        fc.array(visitor, { minLength: 30, maxLength: 30 }),
        async (text, visitors) => {
          await real().server.reload({ hba: Buffer.from(text.join('\n')).toString() })
          for (const who of visitors) {
            const theirs = await realVerdict(who, real())
            expect({ who, verdict: ourVerdict(who, real()) }).toEqual({ who, verdict: theirs })
          }
        },
      ),
      { numRuns: Math.ceil(RUNS / 30), seed: SEED, endOnFailure: true },
    )
  },
  TIMEOUT * 3,
)
