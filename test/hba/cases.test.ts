/** The plain-text tables of test/cases. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

import { type AuthRecord, readAuthFile } from '../../src/auth-file/read-auth-file.ts'
import { type RoleMemberships, staticMemberships } from '../../src/auth-file/role-memberships.ts'
import { type ByteString, toText } from '../../src/byte-string.ts'
import { compileHbaLines } from '../../src/hba/compile-hba-lines.ts'
import type { HbaConnection } from '../../src/hba/hba-line.ts'
import { loadHbaFile } from '../../src/hba/load-hba-file.ts'
import { matchHbaLine } from '../../src/hba/match-hba-line.ts'
import { checkUsermap } from '../../src/ident/check-usermap.ts'
import { loadIdentFile } from '../../src/ident/load-ident-file.ts'

const directory = fileURLToPath(new URL('../cases/', import.meta.url))
const all = new Set(readdirSync(directory))
const namesWith = (first: string, second: string): string[] =>
  [...all]
    .filter((file) => file.endsWith(first))
    .map((file) => file.slice(0, -first.length))
    .filter((name) => all.has(name + second))

const pathOf = (name: string, extension: string): string => join(directory, name + extension)

interface Row {
  readonly line: number
  readonly words: readonly ByteString[]
}

function rows(path: string): Row[] {
  const { records, errors } = readAuthFile(path)
  expect(errors).toEqual([])
  return records.map(({ line, fields }: AuthRecord) => ({
    line,
    words: fields.map((field) => field[0]!.value),
  }))
}

function members(name: string): RoleMemberships {
  const path = pathOf(name, '.members')
  const table = existsSync(path) ? rows(path) : []
  return staticMemberships(
    Object.fromEntries(
      table.map(({ words: [group, ...direct] }) => [toText(group!), direct.map(toText)]),
    ),
  )
}

const CONTEXT = { ssl: true, oauthValidatorLibraries: ['jwt'] }

describe.each(namesWith('.rules', '.eval'))('%s.rules', (name) => {
  const { lines, errors } = loadHbaFile(pathOf(name, '.rules'), CONTEXT)
  const memberships = members(name)

  test('loads without errors', () => {
    expect(errors).toEqual([])
  })

  test.each(rows(pathOf(name, '.eval')).map(({ line, words }) => [line, words.join(' '), words]))(
    'decides as line %i of the table says: %s',
    (_, __, words) => {
      const [expected, database, user, from, ...how] = words as ByteString[]
      const local = ['local'].includes(from!)
      const connection: HbaConnection = {
        local,
        address: local ? undefined : from,
        tls: how.some((word) => word === 'tls'),
        user: user!,
        database: database!,
        physicalReplication: how.some((word) => word === 'replication'),
      }
      const line = matchHbaLine(lines, connection, memberships)?.line
      expect(line === undefined ? '-' : String(line)).toBe(expected)
      expect(compileHbaLines(lines, 0).match(connection, memberships)?.line).toBe(line)
    },
  )
})

const MAP_REASONS: Readonly<Record<string, string>> = {
  usermap_no_match: 'no_match',
  usermap_mismatch: 'mismatch',
  usermap_regex_error: 'regex_error',
}

describe.each(namesWith('.maps', '.eval'))('%s.maps', (name) => {
  const { lines, errors } = loadIdentFile(pathOf(name, '.maps'))
  const memberships = members(name)

  test('loads without errors', () => {
    expect(errors).toEqual([])
  })

  test.each(rows(pathOf(name, '.eval')).map(({ line, words }) => [line, words.join(' '), words]))(
    'answers as line %i of the table says: %s',
    (_, __, words) => {
      const [expected, map, systemUser, role] = words as ByteString[]
      const answer = checkUsermap({
        lines,
        map: map!,
        systemUser: systemUser!,
        role: role!,
        memberships,
      })
      const found = answer.ok ? String(answer.line?.line ?? 0) : MAP_REASONS[answer.reason]
      expect(found).toBe(expected)
    },
  )
})

describe.each([
  ...namesWith('.rules', '.errors').map((name) => ({ name, extension: '.rules' })),
  ...namesWith('.maps', '.errors').map((name) => ({ name, extension: '.maps' })),
])('$name: errors', ({ name, extension }) => {
  test('has every error, in order', () => {
    const path = pathOf(name, extension)
    const { errors } = extension === '.rules' ? loadHbaFile(path, CONTEXT) : loadIdentFile(path)
    expect(errors.map(({ line, message }) => `${line}: ${message}`)).toEqual(
      rows(pathOf(name, '.errors')).map(({ words: [line, message] }) => `${line}: ${message}`),
    )
  })
})
