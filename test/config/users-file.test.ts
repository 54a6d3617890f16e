import { Buffer } from 'node:buffer'
import { chmod } from 'node:fs/promises'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { fromText } from '../../src/byte-string.ts'
import { loadUsersFile } from '../../src/config/users-file.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const KEY_1 = Buffer.alloc(32, 1).toString('base64')
const KEY_2 = Buffer.alloc(32, 2).toString('base64')

async function load(text: string) {
  const directory = await temporaryDirectory()
  return loadUsersFile(await directory.write('users.toml', text))
}

/** The only error, as `line: message`. */
async function problem(text: string): Promise<string> {
  const { users, errors } = await load(text)
  expect(users.size).toBe(0)
  expect(errors).toHaveLength(1)
  return `${errors[0]?.line}: ${errors[0]?.message}`
}

describe('a users file', () => {
  test('gives a password or two SCRAM keys for each role', async () => {
    const { users, errors } = await load(`
      [alice]
      password = "secret"
      ["Bob's role"]
      scram_client_key = "${KEY_1}"
      scram_server_key = "${KEY_2}"
    `)
    expect(errors).toEqual([])
    expect([...users.keys()]).toEqual(['alice', "Bob's role"])
    expect(users.get(fromText('alice'))).toHaveProperty('password', 'secret')
    const bob = users.get(fromText("Bob's role"))
    expect(bob).toHaveProperty('scramClientKey', Buffer.alloc(32, 1))
    expect(bob).toHaveProperty('scramServerKey', Buffer.alloc(32, 2))
  })

  test('names roles in UTF-8', async () => {
    const { users } = await load('["zoë"]\npassword = "x"')
    expect([...users.keys()]).toEqual([Buffer.from('zoë').toString('latin1')])
  })

  test('may be empty', async () => {
    expect(await load('')).toEqual({ users: new Map(), errors: [] })
  })

  test.each(['secret\n', 'secret\r\n', 'secret'])(
    'takes a password from a file beside it: %j',
    async (text) => {
      const directory = await temporaryDirectory()
      await directory.write('alice.pw', text)
      const { users } = loadUsersFile(
        await directory.write('users.toml', '[alice]\npassword = { file = "alice.pw" }'),
      )
      expect(users.get(fromText('alice'))).toHaveProperty('password', 'secret')
    },
  )

  test('takes a password from the environment', async () => {
    process.env['PGBEARER_TEST_PASSWORD'] = 'from the environment'
    try {
      const { users } = await load('[alice]\npassword = { env = "PGBEARER_TEST_PASSWORD" }')
      expect(users.get(fromText('alice'))).toHaveProperty('password', 'from the environment')
    } finally {
      delete process.env['PGBEARER_TEST_PASSWORD']
    }
  })

  test('gives credentials that are not printed', async () => {
    const { users } = await load(
      `[alice]\npassword = "secret"\n[bob]\nscram_client_key = "${KEY_1}"\nscram_server_key = "${KEY_2}"`,
    )
    const shown = `${inspect(users, { depth: 9 })} ${JSON.stringify([...users.values()])}`
    expect(shown).not.toMatch(/secret|01 01|"data"/)
  })
})

describe('a users file is refused', () => {
  test.each([
    ['an unknown key', '[alice]\npassword = "a"\npasword = "b"', '3: alice.pasword: unknown key'],
    [
      'no secret',
      '\n[alice]',
      '2: alice: needs either password, or scram_client_key and scram_server_key',
    ],
    [
      'a password and keys',
      `[alice]\npassword = "a"\nscram_client_key = "${KEY_1}"`,
      '1: alice: needs either password, or scram_client_key and scram_server_key',
    ],
    [
      'one key alone',
      `[alice]\nscram_client_key = "${KEY_1}"`,
      '1: alice: needs either password, or scram_client_key and scram_server_key',
    ],
    [
      'a password that is a number',
      '[alice]\n\npassword = 1',
      '3: alice.password: must be a string, { file = "…" } or { env = "…" }',
    ],
    [
      'a password from nowhere',
      '[alice]\npassword = { url = "x" }',
      '2: alice.password: must be a string, { file = "…" } or { env = "…" }',
    ],
    [
      'a password from two places',
      '[alice]\npassword = { file = "x", env = "Y" }',
      '2: alice.password: must be a string, { file = "…" } or { env = "…" }',
    ],
    ['an empty password', '[alice]\npassword = ""', '2: alice.password: must not be empty'],
    ['a NUL', '[alice]\npassword = "a\\u0000b"', '2: alice.password: must be UTF-8 without NUL'],
    [
      'an endless password',
      `[alice]\npassword = "${'x'.repeat(60_001)}"`,
      '2: alice.password: must have at most 60000 bytes',
    ],
    [
      'a variable that is not set',
      '[alice]\npassword = { env = "PGBEARER_NOT_SET" }',
      '2: alice.password: environment variable "PGBEARER_NOT_SET" is not set',
    ],
    [
      'a short key',
      `[a]\nscram_client_key = "AAAA"\nscram_server_key = "${KEY_2}"`,
      '2: a.scram_client_key: must be 32 bytes in base64',
    ],
    [
      'a key in another alphabet',
      `[a]\nscram_client_key = "${KEY_1}"\nscram_server_key = "${'_'.repeat(43)}="`,
      '3: a.scram_server_key: must be 32 bytes in base64',
    ],
    ['a value instead of a table', 'alice = "secret"', '1: alice: must be a table'],
    ['an inline table', '\nalice = { pasword = "x" }', '2: alice.pasword: unknown key'],
    [
      'a role without a name',
      '[""]\npassword = "x"',
      '1: : a role name has 1 to 63 bytes, none of them NUL',
    ],
    [
      'a role name of 64 bytes',
      `[${'x'.repeat(64)}]\npassword = "x"`,
      `1: ${'x'.repeat(64)}: a role name has 1 to 63 bytes, none of them NUL`,
    ],
  ])('for %s', async (_what, text, expected) => {
    expect(await problem(text)).toBe(expected)
  })

  test('with a hint at the name that was meant', async () => {
    const { errors } = await load('[alice]\npasword = "x"')
    expect(errors[0]?.hint).toBe('Perhaps you meant "password".')
  })

  test('with all that is wrong, and keeps what is right', async () => {
    const { users, errors } = await load('[a]\n[b]\npassword = "x"\n[c]\npassword = 1')
    expect([...users.keys()]).toEqual(['b'])
    expect(errors.map(({ line }) => line)).toEqual([1, 5])
  })

  test.each([
    ['[alice]\npassword = "hunter2', 2],
    ['[alice]\npassword = hunter2', 2],
    ['[alice]\npassword "hunter2"', 2],
    ['[alice]\npassword = "hunter2" "hunter2"', 2],
    ['[alice]\npassword = "hunter2"\n[alice]\npassword = "hunter2"', 3],
    ['[alice]\npassword = "hunter2\\q"', 2],
    ['[alice]\nscram_client_key = "hunter2"\nscram_server_key = "hunter2"', 2],
    ['[alice]\npassword = [ "hunter2" ]', 2],
    ['alice = "hunter2"', 1],
  ])('without showing a secret: %j', async (text, line) => {
    const { errors } = await load(text)
    expect(errors).toHaveLength(1)
    expect(errors[0]?.line).toBe(line)
    expect(inspect(errors, { depth: 9, showHidden: true })).not.toContain('hunter2')
  })

  test('where it is missing', () => {
    const { users, errors } = loadUsersFile('/nonexistent/users.toml')
    expect(users.size).toBe(0)
    expect(errors[0]?.message).toContain('No such file or directory')
  })

  test.each([0o620, 0o604, 0o660, 0o666, 0o755])('with mode %o', async (mode) => {
    const directory = await temporaryDirectory()
    const file = await directory.write('users.toml', '[alice]\npassword = "secret"')
    await chmod(file, mode)
    const { users, errors } = loadUsersFile(file)
    expect(users.size).toBe(0)
    expect(errors).toHaveLength(1)
    expect(errors[0]?.message).toMatch(/has group or world access$/)
  })

  test("where a group can read it, unless it is root's", async () => {
    const directory = await temporaryDirectory()
    const file = await directory.write('users.toml', '[alice]\npassword = "secret"')
    await chmod(file, 0o640)
    expect(loadUsersFile(file).users.size).toBe(process.getuid?.() === 0 ? 1 : 0)
  })

  test('where it names a password file that others can read', async () => {
    const directory = await temporaryDirectory()
    await chmod(await directory.write('alice.pw', 'secret'), 0o604)
    const { users, errors } = loadUsersFile(
      await directory.write('users.toml', '[alice]\npassword = { file = "alice.pw" }'),
    )
    expect(users.size).toBe(0)
    expect(errors[0]).toMatchObject({ line: 2 })
    expect(errors[0]?.message).toMatch(/alice\.pw" has group or world access$/)
  })

  test('where it names a password file that is not UTF-8 or not there', async () => {
    const directory = await temporaryDirectory()
    await directory.write('bad.pw', Buffer.from([0xff, 0xfe]))
    const { users, errors } = loadUsersFile(
      await directory.write(
        'users.toml',
        '[a]\npassword = { file = "bad.pw" }\n[b]\npassword = { file = "missing.pw" }',
      ),
    )
    expect(users.size).toBe(0)
    expect(errors.map(({ message }) => message)).toEqual([
      'a.password: must be UTF-8 without NUL',
      expect.stringMatching(/^b\.password: could not load password file: No such file/),
    ])
  })
})
