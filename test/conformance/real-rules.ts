/**
 * What a real PostgreSQL 18 makes of rules and maps: the rows of its views, read from the files as
 * they are now.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Client } from 'pg'

import { fromBytes, toText } from '../../src/byte-string.ts'
import type { EmbeddedPostgres } from '../../src/demo/embedded-postgres.ts'
import type { HbaFileRule } from '../../src/hba/describe-hba-line.ts'
import type { IdentFileMapping } from '../../src/ident/describe-ident-line.ts'
import { startPostgres } from '../support/postgres.ts'

/** Names below the data directory and their bytes, one character per byte. */
export type Files = Readonly<Record<string, string>>

export interface RealRules extends AsyncDisposable {
  readonly server: EmbeddedPostgres
  readonly hbaFile: string
  readonly identFile: string
  write(files: Files): void
  hbaRules(): Promise<readonly HbaFileRule[]>
  identMappings(): Promise<readonly IdentFileMapping[]>
  query(sql: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>
}

const HBA_ROWS = `select rule_number, ${hex('file_name')}, line_number, ${hex('type')},
  ${hexes('database')}, ${hexes('user_name')}, ${hex('address')}, ${hex('netmask')},
  ${hex('auth_method')}, ${hexes('options')}, ${hex('error')} from pg_hba_file_rules`

const IDENT_ROWS = `select map_number, ${hex('file_name')}, line_number, ${hex('map_name')},
  ${hex('sys_name')}, ${hex('pg_username')}, ${hex('error')} from pg_ident_file_mappings`

function hex(column: string): string {
  return `encode(convert_to(${column}, 'SQL_ASCII'), 'hex') ${column}`
}

function hexes(column: string): string {
  return `(select array_agg(encode(convert_to(x, 'SQL_ASCII'), 'hex') order by o)
    from unnest(${column}) with ordinality as u(x, o)) ${column}`
}

type Values = readonly unknown[]

/**
 * A server with a database of encoding SQL_ASCII, in which regular expressions work on bytes as they
 * do before a connection has a database.
 */
export async function startRealRules(
  settings: Readonly<Record<string, string | boolean>> = {},
  ssl?: { readonly cert: string; readonly key: string },
): Promise<RealRules> {
  const server = await startPostgres({ settings, ...(ssl === undefined ? {} : { ssl }) })
  await server.query(`create database bytes template template0 encoding 'SQL_ASCII' locale 'C'`)
  const { socketDirectory: host, port, superuser: user } = server
  const client = new Client({ host, port, user, database: 'bytes' })
  await client.connect()
  const made = new Set<string>()
  return {
    server,
    hbaFile: join(server.dataDirectory, 'pg_hba.conf'),
    identFile: join(server.dataDirectory, 'pg_ident.conf'),
    write(files) {
      for (const [name, content] of Object.entries(files)) {
        const path = join(server.dataDirectory, name)
        if (!made.has(path)) {
          mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
          made.add(path)
        }
        writeFileSync(path, Buffer.from(content, 'latin1'), { mode: 0o644 })
      }
    },
    async hbaRules() {
      const { rows } = await client.query<unknown[]>({ text: HBA_ROWS, rowMode: 'array' })
      return rows.map(hbaRow)
    },
    async identMappings() {
      const { rows } = await client.query<unknown[]>({ text: IDENT_ROWS, rowMode: 'array' })
      return rows.map(identRow)
    },
    async query(sql, values = []) {
      const { rows } = await client.query<Record<string, unknown>>(sql, [...values])
      return rows
    },
    async [Symbol.asyncDispose]() {
      await client.end()
      await server.stop()
    },
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? toText(fromBytes(Buffer.from(value, 'hex'))) : null
}

function texts(value: unknown): string[] | null {
  return Array.isArray(value) ? value.map((item) => text(item) ?? '') : null
}

function hbaRow(row: Values): HbaFileRule {
  return {
    ruleNumber: row[0] as number | null,
    fileName: text(row[1]) ?? '',
    lineNumber: row[2] as number,
    type: text(row[3]),
    database: texts(row[4]),
    userName: texts(row[5]),
    address: text(row[6]),
    netmask: text(row[7]),
    authMethod: text(row[8]),
    options: texts(row[9]),
    error: text(row[10]),
  }
}

function identRow(row: Values): IdentFileMapping {
  return {
    mapNumber: row[0] as number | null,
    fileName: text(row[1]) ?? '',
    lineNumber: row[2] as number,
    mapName: text(row[3]),
    sysName: text(row[4]),
    pgUserName: text(row[5]),
    error: text(row[6]),
  }
}
