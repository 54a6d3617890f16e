import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer } from '../../examples/embed/server.mjs'
import { type LibpqProcess, startLibpq } from '../../src/demo/libpq.ts'

type Embedded = Awaited<ReturnType<typeof startServer>>

let embedded: Embedded
let libpq: LibpqProcess

beforeAll(async () => {
  embedded = await startServer({
    hba_file: path.resolve('examples/embed/pg_hba.conf'),
    oauth_validator_libraries: [path.resolve('test/fixtures/validators/accepts-anything.js')],
  })
  await embedded.database.exec('create role alice; create role bob')
  libpq = await startLibpq()
})

afterAll(async () => {
  await libpq?.[Symbol.asyncDispose]()
  embedded?.server.close()
  await embedded?.database.close()
})

const conninfo = (user: string) => ({
  host: '127.0.0.1',
  port: (embedded.server.address() as { port: number }).port,
  user,
  dbname: 'postgres',
  sslmode: 'disable',
  oauth_issuer: 'https://issuer.example',
  oauth_client_id: 'test',
  require_auth: 'oauth',
})

describe('PGlite behind the authenticator', () => {
  it('logs a client in by token, as its role', async () => {
    const connection = await libpq.connect({ conninfo: conninfo('alice'), token: 'alice' })
    const { rows } = await connection.execute('select current_user')
    expect(rows).toEqual([['alice']])
    await connection.close()
  })

  it('refuses a token for another role in PostgreSQL’s words', async () => {
    const { error } = await libpq.login({ conninfo: conninfo('bob'), token: 'alice' })
    expect(error).toContain('OAuth bearer authentication failed for user "bob"')
  })
})
