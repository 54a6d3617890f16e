import { existsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { Client, type ClientConfig } from 'pg'
import { describe, expect, test } from 'vitest'

import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts'
import { findFreePort } from '../../src/demo/free-port.ts'
import { startPostgres, withPostgres } from '../support/postgres.ts'
import { eventually, processesWith, processExists } from '../support/processes.ts'
import { withCertificates } from '../support/certificates.ts'

const EPHEMERAL = 32_768

async function logIn(
  server: EmbeddedPostgres,
  user: string,
  config: ClientConfig = {},
): Promise<string> {
  const client = new Client({
    host: server.host,
    port: server.port,
    user,
    database: 'postgres',
    ...config,
  })
  await client.connect()
  try {
    const { rows } = await client.query<{ user: string }>('SELECT current_user AS user')
    return rows[0]!.user
  } finally {
    await client.end()
  }
}

function expectGone(server: EmbeddedPostgres): void {
  expect(existsSync(dirname(server.dataDirectory))).toBe(false)
  expect(processExists(server.pid)).toBe(false)
  expect(processesWith(dirname(server.dataDirectory))).toEqual([])
}

describe('a running server', () => {
  const server = withPostgres({ settings: { work_mem: '5MB' }, superuserPassword: "it's" })

  test('is PostgreSQL 18', async () => {
    const [row] = await server().query('SHOW server_version')
    expect(row?.['server_version']).toMatch(/^18\./)
  })

  test('listens below the ports of outgoing connections', () => {
    expect(server().port).toBeLessThan(EPHEMERAL)
  })

  test('has the settings it was given', async () => {
    expect(await server().query('SHOW work_mem')).toEqual([{ work_mem: '5MB' }])
  })

  test('does not run as root', () => {
    expect(statSync(server().dataDirectory).uid).not.toBe(0)
  })

  test('lets only its own account see its files and its socket', () => {
    const { mode } = statSync(dirname(server().socketDirectory))
    expect(mode & 0o077).toBe(0)
  })

  test('lets the superuser in over TCP with the password it was given', async () => {
    expect(await logIn(server(), 'postgres', { password: "it's" })).toBe('postgres')
  })

  test('refuses the superuser over TCP with another password', async () => {
    await expect(logIn(server(), 'postgres', { password: 'its' })).rejects.toThrow(
      'password authentication failed for user "postgres"',
    )
  })

  test('refuses TLS where none was asked for', async () => {
    await expect(logIn(server(), 'postgres', { ssl: true })).rejects.toThrow(
      'The server does not support SSL connections',
    )
  })

  test('gives the rows of the last statement', async () => {
    expect(await server().query('SELECT 1 AS a; SELECT 2 AS b')).toEqual([{ b: 2 }])
  })

  test('passes parameters and connects to the database it is told', async () => {
    await server().query('CREATE DATABASE elsewhere')
    const sql = 'SELECT $1::int + 1 AS n, current_database() AS db'
    expect(await server().query(sql, [1], 'elsewhere')).toEqual([{ n: 2, db: 'elsewhere' }])
  })

  test('fails with the error of the server', async () => {
    await expect(server().query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' })
  })

  test('shows what it logs', async () => {
    await expect(server().query('SELECT of_no_such_column')).rejects.toThrow()
    expect(server().log()).toContain('column "of_no_such_column" does not exist')
  })
})

describe('rules', () => {
  const server = withPostgres({ hba: 'host all alice 127.0.0.1/32 trust\n' })

  test('are the ones it was given, until a reload replaces them', async () => {
    await server().query('CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN')
    expect(await logIn(server(), 'alice')).toBe('alice')
    await expect(logIn(server(), 'bob')).rejects.toThrow('no pg_hba.conf entry')

    await server().reload({
      hba: 'host all bob 127.0.0.1/32 trust\n',
      settings: { work_mem: '6MB' },
    })
    expect(await logIn(server(), 'bob')).toBe('bob')
    await expect(logIn(server(), 'alice')).rejects.toThrow('no pg_hba.conf entry')
    expect(await server().query('SHOW work_mem')).toEqual([{ work_mem: '6MB' }])
  })

  test('keep the superuser on the Unix socket, and only there', async () => {
    await expect(logIn(server(), 'postgres')).rejects.toThrow('no pg_hba.conf entry')
    expect(await server().query('SELECT current_user AS user')).toEqual([{ user: 'postgres' }])
  })
})

describe('TLS', () => {
  const certificates = withCertificates()

  test('is there with the certificate it was given', async () => {
    const { server: ssl, authority } = certificates()
    const server = await startPostgres({ ssl, superuserPassword: 'secret' })
    try {
      const options = { password: 'secret', host: 'localhost', ssl: { ca: authority.cert } }
      expect(await logIn(server, 'postgres', options)).toBe('postgres')
    } finally {
      await server.stop()
    }
  })
})

describe('stopping', () => {
  test('leaves no process and no directory, and keeps the log', async () => {
    const server = await startPostgres()
    await server.stop()
    expectGone(server)
    expect(server.log()).toContain('database system is shut down')
  })

  test('ends sessions that are in the middle of something', async () => {
    const server = await startPostgres()
    const client = new Client({
      host: server.socketDirectory,
      port: server.port,
      user: 'postgres',
    })
    await client.connect()
    client.on('error', () => {})
    const sleeping = expect(client.query('SELECT pg_sleep(600)')).rejects.toThrow(
      'terminating connection due to administrator command',
    )
    await eventually(async () => {
      const rows = await server.query("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
      return rows.length === 1
    })
    await server.stop()
    await sleeping
    expectGone(server)
  })

  test('can be asked for twice', async () => {
    const server = await startPostgres()
    await Promise.all([server.stop(), server.stop()])
    await server.stop()
    expectGone(server)
  })

  test('ends a server that ignores a fast shutdown', async () => {
    const server = await startPostgres()
    // A stopped process takes no SIGINT and no SIGQUIT; only SIGKILL ends it.
    process.kill(server.pid, 'SIGSTOP')
    await server.stop()
    expectGone(server)
  })
})

describe('failing to start', () => {
  test('says what PostgreSQL said, and leaves nothing', async () => {
    const directories: string[] = []
    const failure = startEmbeddedPostgres({ settings: { no_such_setting: 1 } }).catch(
      (error: Error) => {
        directories.push(...(/\/\S*pgbearer-postgres-[^/]*/.exec(error.message) ?? []))
        return error.message
      },
    )
    expect(await failure).toContain('unrecognized configuration parameter "no_such_setting"')
    expect(directories).toHaveLength(1)
    expect(existsSync(directories[0]!)).toBe(false)
    expect(processesWith(directories[0]!)).toEqual([])
  })
})

describe('the preferred port', () => {
  test('is taken where it is free', async () => {
    const preferredPort = await findFreePort()
    const server = await startPostgres({ preferredPort })
    expect(server.port).toBe(preferredPort)
    await server.stop()
  })

  test('is left alone where another server has it', async () => {
    const first = await startPostgres()
    const second = await startPostgres({ preferredPort: first.port })
    try {
      expect(second.port).not.toBe(first.port)
    } finally {
      await Promise.all([first.stop(), second.stop()])
    }
  })
})
