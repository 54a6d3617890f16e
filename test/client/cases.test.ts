/** Every case that the client side was specified by is the name of a test. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

/** The groups of cases, and how many each has. */
const GROUPS = {
  A: ['callback, request and credential', 18],
  B: ['what a provider holds', 33],
  C: ['configuration', 26],
  D: ['authentication against a server', 19],
  E: ['logins of people', 20],
  F: ['no retry', 6],
  G: ['the exchange', 24],
  H: ['the transport', 11],
  I: ['callbacks that misbehave', 9],
  J: ['device flow', 26],
  K: ['authorization code on loopback', 28],
  L: ['other sources', 10],
  M: ['drivers', 13],
  N: ['commands', 10],
  O: ['secrets', 4],
} as const

const CASES: readonly string[] = Object.entries(GROUPS).flatMap(([group, [, count]]) =>
  Array.from({ length: count }, (_value, index) => `${group}${index + 1}`),
)

const HERE = import.meta.dirname
const FILES = readdirSync(HERE, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts') && name !== path.basename(import.meta.filename))
  .map((name) => ({ name, text: readFileSync(path.join(HERE, name), 'utf8') }))

// The beginning of a name, `'A1, B2: …'`, or a cell of a table that is one, `'C1'`.
const NAMED = /(['"`])((?:[A-Z]\d{1,2})(?:, [A-Z]\d{1,2})*)(?=:|\1)/g

/** Where each case is named. */
const FOUND = new Map<string, string[]>()
for (const { name, text } of FILES) {
  for (const [, , ids = ''] of text.matchAll(NAMED)) {
    for (const id of ids.split(', ')) {
      FOUND.set(id, [...(FOUND.get(id) ?? []), name])
    }
  }
}

describe('the cases of the client side', () => {
  it.each(CASES)('%s has a test that bears its name', (id) => {
    expect(FOUND.get(id) ?? []).not.toEqual([])
  })

  it('are all that the tests name', () => {
    expect([...FOUND.keys()].filter((id) => !CASES.includes(id))).toEqual([])
  })

  it('are 257, in files that are read', () => {
    expect(CASES).toHaveLength(257)
    expect(FILES.length).toBeGreaterThan(15)
  })

  it('are none of them left out', () => {
    const leaving = /\b(?:it|test|describe)(?:\.\w+)*\.(?:skip|skipIf|runIf|todo|only|fails)\b/
    expect(FILES.filter(({ text }) => leaving.test(text)).map(({ name }) => name)).toEqual([])
  })
})
