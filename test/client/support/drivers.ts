/** The drivers behind one face, so that one list of cases is shown for each. */
import { Client, Pool } from 'pg'
import postgres from 'postgres'
import {
  type DriverOAuthOptions,
  pgOAuth,
  pgOAuthClient,
  postgresOAuth,
} from '../../../src/client/index.ts'
import type { ScriptedServer } from './scripted-server.ts'

export type Target = Pick<ScriptedServer, 'host' | 'port'>

export interface PoolFace extends AsyncDisposable {
  query(sql: string): Promise<unknown>
}

export interface Driver {
  /** Runs `select 1` in a fresh client or pool of one and closes it. */
  once(server: Target, options: DriverOAuthOptions, extra?: object): Promise<unknown>
  pool(server: Target, options: DriverOAuthOptions, max: number, extra?: object): PoolFace
}

/** The class and the options of a client of `pg`, by either way in. */
type PgWay = (options: DriverOAuthOptions) => {
  readonly Client: typeof Client
  readonly config: object
}

const byStream: PgWay = (options) => ({ Client, config: pgOAuth(options) })

/** TLS is the driver's; what it verifies is what the shim would. */
export const byClass: PgWay = ({ tls, maxTokenAge, ...options }) => ({
  Client: pgOAuthClient(Client, options),
  config: {
    ssl: tls === false || tls === undefined ? false : tls,
    ...(maxTokenAge === undefined ? {} : { maxLifetimeSeconds: maxTokenAge }),
  },
})

function pgDriver(way: PgWay): Driver {
  return {
    async once({ host, port }, options, extra = {}) {
      const { Client: Chosen, config } = way(options)
      const client = new Chosen({ host, port, user: 'ann', ...config, ...extra })
      client.on('error', () => {})
      try {
        await client.connect()
        return (await client.query('select 1')).rows
      } finally {
        await client.end()
      }
    },
    pool({ host, port }, options, max, extra = {}) {
      const { Client: Chosen, config } = way(options)
      const settings = { host, port, user: 'ann', max, ...config, ...extra, Client: Chosen }
      const pool = new Pool(settings)
      pool.on('error', () => {})
      return {
        query: async (sql) => (await pool.query(sql)).rows as unknown,
        [Symbol.asyncDispose]: () => pool.end(),
      }
    },
  }
}

const postgresDriver: Driver = {
  async once(server, options, extra = {}) {
    await using pool = this.pool(server, options, 1, extra)
    return await pool.query('select 1')
  },
  pool(server, options, max, extra = {}) {
    const sql = postgres({
      host: server.host,
      port: server.port,
      user: 'ann',
      max,
      fetch_types: false,
      backoff: () => 0,
      ...postgresOAuth(options),
      ...extra,
    })
    return {
      query: async (text) => [...(await sql.unsafe(text))],
      [Symbol.asyncDispose]: () => sql.end({ timeout: 1 }),
    }
  },
}

export const DRIVERS: Readonly<Record<'pg' | 'pg by class' | 'postgres', Driver>> = {
  pg: pgDriver(byStream),
  'pg by class': pgDriver(byClass),
  postgres: postgresDriver,
}
