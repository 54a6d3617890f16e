/**
 * Random graphs of roles on a real PostgreSQL 18: what the catalog tells us decides as the server's own
 * `+role` lines do.
 */
import { connect } from 'node:net'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ByteString, fromBytes, fromText, toBytes } from '../../src/byte-string.ts'
import { silentLog } from '../../src/log.ts'
import { readCatalog } from '../../src/memberships/read-catalog.ts'
import type { RoleGraph } from '../../src/memberships/role-graph.ts'
import { startupMessage } from '../../src/protocol/frontend-messages.ts'
import { PROTOCOL_3_0 } from '../../src/protocol/limits.ts'
import { RUNS, SEED, TIMEOUT } from '../conformance/runs.ts'
import { withPostgres } from '../support/postgres.ts'
import { upstreamSettings } from '../upstream/support.ts'

const ROLES = ['r0', 'r1', 'r2', 'r3', 'r4', 'r5']
/** The database that is asked for says which line is meant. */
const RULES = [...ROLES, 'ghost'].map((role) => `local ${role} +${role} trust`).join('\n')

const postgres = withPostgres({ hba: `host all reader 127.0.0.1/32 trust\n${RULES}` })

async function catalog(database = 'postgres'): Promise<RoleGraph> {
  const { port } = postgres()
  return await readCatalog(
    {
      upstream: upstreamSettings({ port }),
      user: fromText('reader'),
      database: fromText(database),
      credential: undefined,
    },
    { signal: new AbortController().signal, log: silentLog },
  )
}

/** Whether the server lets a role through the line for members of `group`; the database need not exist. */
function isMemberThere(role: ByteString, group: ByteString): Promise<boolean> {
  const { socketDirectory, port } = postgres()
  return new Promise((resolve, reject) => {
    const socket = connect(join(socketDirectory, `.s.PGSQL.${port}`))
    const parameters = Object.entries({ user: role, database: group })
    socket.write(
      startupMessage(
        PROTOCOL_3_0,
        parameters.map(([name, value]) => [fromText(name), value]),
      ),
    )
    socket.on('error', reject)
    socket.once('data', (data: Buffer) => {
      socket.destroy()
      resolve(data.toString('latin1', 0, 1) === 'R')
    })
  })
}

interface Grant {
  readonly member: number
  readonly group: number
  readonly options: readonly boolean[]
}

const grant: fc.Arbitrary<Grant> = fc
  .tuple(fc.nat(ROLES.length - 1), fc.nat(ROLES.length - 1), fc.tuple(fc.boolean(), fc.boolean()))
  .filter(([member, group]) => member !== group)
  // PostgreSQL refuses circles, so grants go upwards.
  .map(([a, b, options]) => ({ member: Math.min(a, b), group: Math.max(a, b), options }))

interface Graph {
  readonly grants: readonly Grant[]
  readonly attributes: readonly string[]
}

const graphs: fc.Arbitrary<Graph> = fc.record({
  grants: fc.array(grant, { maxLength: 9 }),
  attributes: fc.array(fc.constantFrom('login', 'login noinherit', 'login superuser', 'nologin'), {
    minLength: ROLES.length,
    maxLength: ROLES.length,
  }),
})

async function makeRoles({
  grants,
  attributes,
}: typeof graphs extends fc.Arbitrary<infer T> ? T : never): Promise<void> {
  const statements = [
    ...ROLES.map((role) => `drop role if exists ${role}`),
    ...ROLES.map((role, at) => `create role ${role} ${attributes[at]}`),
    ...grants.map(({ member, group, options: [inherit, set] }) => {
      const options = `inherit ${String(inherit)}, set ${String(set)}, admin false`
      return `grant ${ROLES[group]} to ${ROLES[member]} with ${options}`
    }),
  ]
  await postgres().query(statements.join(';\n'))
}

// A graph is 49 connections.
const GRAPHS = Math.max(6, Math.floor(RUNS / 20))

describe('with a reader that may nothing but log in', () => {
  test('the same roles are members here and there', { timeout: TIMEOUT * 2 }, async () => {
    await postgres().query('create role reader login')
    let members = 0
    await fc.assert(
      fc.asyncProperty(graphs, async (roles) => {
        await makeRoles(roles)
        const ours = await catalog()
        const names = [...ROLES, 'ghost'].map(fromText)
        for (const role of names) {
          const there = await Promise.all(names.map((group) => isMemberThere(role, group)))
          expect(names.map((group) => ours.isMember(role, group))).toEqual(there)
          members += there.filter(Boolean).length
        }
      }),
      { numRuns: GRAPHS, seed: SEED },
    )
    // Everybody is at least a member of themselves.
    expect(members).toBeGreaterThan(GRAPHS * ROLES.length)
  })

  test('names are bytes, whatever the encodings of the databases are', async () => {
    const server = postgres()
    const strange = fromBytes(Buffer.from([0x6e, 0xe9, 0xff, 0x80]))
    const hex = toBytes(strange).toString('hex')
    await server.query(`create database bytes template template0 encoding 'SQL_ASCII' locale 'C'`)
    await server.query(
      `do $$ begin
         execute format('create role %I login', convert_from('\\x${hex}', 'SQL_ASCII'));
         create role "dév";
         execute format('grant "dév" to %I', convert_from('\\x${hex}', 'SQL_ASCII'));
       end $$`,
      undefined,
      'bytes',
    )
    await server.reload({ hba: `host all reader 127.0.0.1/32 trust\nlocal all +dév trust` })
    const group = fromText('dév')
    for (const database of ['postgres', 'bytes']) {
      const ours = await catalog(database)
      expect(ours.isMember(strange, group)).toBe(true)
      expect(ours.isMember(fromBytes(Buffer.from([0x6e, 0xe9, 0xff])), group)).toBe(false)
    }
    expect(await isMemberThere(strange, fromText('any'))).toBe(true)
  })

  test('nobody is in pg_database_owner, not even an owner', async () => {
    const server = postgres()
    await server.query('create role owner login')
    await server.query('create database owned owner owner')
    await server.reload({
      hba: 'host all reader 127.0.0.1/32 trust\nlocal all +pg_database_owner trust',
    })
    const group = fromText('pg_database_owner')
    expect((await catalog('owned')).isMember(fromText('owner'), group)).toBe(false)
    expect(await isMemberThere(fromText('owner'), fromText('owned'))).toBe(false)
  })

  test('a reader with a setting of its own for client_encoding changes nothing', async () => {
    await postgres().query(`alter role reader set client_encoding = 'LATIN1'`)
    expect((await catalog()).isMember(fromText('reader'), fromText('reader'))).toBe(true)
  })

  test('a reader with a search_path of its own reads the same', async () => {
    const server = postgres()
    await server.query(`create schema trap; create table trap.pg_roles (oid oid, rolname name);
      grant usage on schema trap to reader; grant select on trap.pg_roles to reader`)
    await server.query(`alter role reader set search_path = trap, pg_catalog`)
    expect((await catalog()).isMember(fromText('reader'), fromText('reader'))).toBe(true)
  })
})
