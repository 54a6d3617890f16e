import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts'
import { type LibpqProcess, startLibpq } from '../../src/demo/libpq.ts'
import { startProxy, type TestProxy } from '../support/proxy.ts'

const ACCEPTS_ANYTHING = path.resolve('test/fixtures/validators/accepts-anything.js')

let postgres: EmbeddedPostgres
let libpq: LibpqProcess
let proxy: TestProxy

beforeAll(async () => {
  postgres = await startEmbeddedPostgres({ hba: 'host all all 127.0.0.1/32 trust\nlocal all all trust' })
  await postgres.query('create role alice login')
  libpq = await startLibpq()
  proxy = await startProxy({
    hba: `host all all 127.0.0.1/32 oauth issuer=https://issuer.example scope=db`,
    oauth_validator_libraries: [ACCEPTS_ANYTHING],
    upstream: { host: postgres.host, port: postgres.port, sslmode: 'disable' },
  })
})

afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await libpq?.[Symbol.asyncDispose]()
  await postgres?.[Symbol.asyncDispose]()
})

const conninfo = (user: string) => ({
  host: proxy.host,
  port: proxy.port,
  user,
  dbname: 'postgres',
  sslmode: 'disable',
  oauth_issuer: 'https://issuer.example',
  oauth_client_id: 'test',
  require_auth: 'oauth',
})

describe('a login by libpq 18', () => {
  it('becomes the role that the token is good for', async () => {
    const connection = await libpq.connect({ conninfo: conninfo('alice'), token: 'alice' })
    const { rows } = await connection.execute('select current_user')
    expect(rows).toEqual([['alice']])
    await connection.close()
  })
})
