import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EmbeddedPostgres } from '../../src/demo/embedded-postgres.ts'
import { deriveKeys, scramKeys } from '../../src/upstream/scram-keys.ts'
import { startPostgres } from '../support/postgres.ts'

const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')

describe('the keys of a credential', () => {
  test('are those of RFC 7677 §3', async () => {
    const { clientKey, serverKey } = await deriveKeys('pencil', SALT, 4096)
    const storedKey = createHash('sha256').update(clientKey).digest('base64')
    expect(storedKey).toBe('WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=')
    expect(serverKey.toString('base64')).toBe('wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=')
  })

  test('are derived once for one salt, also when many ask at once', async () => {
    const credential = { password: 'pencil' }
    const ask = () => scramKeys(credential, Buffer.from(SALT), 4096)
    const [first, second] = await Promise.all([ask(), ask()])
    expect(second).toBe(first)
    expect(await ask()).toBe(first)
  })

  test('are derived again for another salt, other iterations or another credential', async () => {
    const credential = { password: 'pencil' }
    const first = await scramKeys(credential, SALT, 4096)
    const other = Buffer.from(SALT.map((byte) => byte ^ 1))
    expect((await scramKeys(credential, other, 4096)).clientKey).not.toEqual(first.clientKey)
    expect((await scramKeys(credential, SALT, 4097)).clientKey).not.toEqual(first.clientKey)
    const wrong = await scramKeys({ password: 'pencil2' }, SALT, 4096)
    expect(wrong.clientKey).not.toEqual(first.clientKey)
    expect((await scramKeys(credential, SALT, 4096)).clientKey).toEqual(first.clientKey)
  })

  test('that are given are taken as they are', async () => {
    const scramClientKey = Buffer.alloc(32, 1)
    const scramServerKey = Buffer.alloc(32, 2)
    const keys = await scramKeys({ scramClientKey, scramServerKey }, SALT, 4096)
    expect(keys).toEqual({ clientKey: scramClientKey, serverKey: scramServerKey })
  })
})

describe('a password that is not ASCII', () => {
  let server: EmbeddedPostgres

  beforeAll(async () => {
    server = await startPostgres()
    await server.query(`
      CREATE ROLE tester;
      CREATE FUNCTION secret_of(password text) RETURNS text LANGUAGE plpgsql AS $$
      BEGIN
        SET LOCAL scram_iterations = 1;
        EXECUTE format('ALTER ROLE tester PASSWORD %L', password);
        RETURN (SELECT rolpassword FROM pg_authid WHERE rolname = 'tester');
      END $$`)
  })

  afterAll(() => server.stop())

  /** True where PostgreSQL, told this password, stores the keys that we would log in with. */
  async function agrees(password: string): Promise<boolean> {
    const [row] = await server.query('SELECT secret_of($1) AS secret', [password])
    const [, , salt = '', storedKey, serverKey] = String(row?.['secret']).split(/[$:]/)
    const keys = await deriveKeys(password, Buffer.from(salt, 'base64'), 1)
    const ours = createHash('sha256').update(keys.clientKey).digest('base64')
    return ours === storedKey && keys.serverKey.toString('base64') === serverKey
  }

  test.each([
    ['is composed', 'e\u0301cole'],
    ['is compatible with ASCII', '\u2168\uff21\u00aa'],
    ['has a soft hyphen', 'soft\u00adhyphen'],
    ['has a blank that is not ASCII', 'no\u00a0break\u2003space\u3000'],
    ['has a blank that is also mapped to nothing', 'zero\u200bwidth'],
    ['is mapped to nothing', '\u00ad\u200d'],
    ['has a control character and an accent', '\u0007\u00e9'],
    ['is from a private area', '\ue000a'],
    ['is not a character', '\ufdd0a'],
    ['was not assigned in Unicode 3.2', '\u0221a'],
    ['is an emoji', 'cat \u{1f408}'],
    ['goes from right to left', '\u0627\u0628'],
    ['goes from right to left and ends with a digit', '\u0627\u0031'],
    ['goes both ways', '\u0627a\u0628'],
    ['is ideographic', '\u30d1\u30b9\u30ef\u30fc\u30c9'],
    ['is Hangul in parts', '\u1112\u1161\u11ab'],
    ['has a tag character', 'a\u{e0041}'],
    ['has a direction override', 'a\u202eb'],
  ])('is prepared as PostgreSQL does where it %s', async (_what, password) => {
    expect(await agrees(password)).toBe(true)
  })

  test('is prepared as PostgreSQL does, whatever characters without another form it has', async () => {
    const unit = fc
      .oneof(
        fc.integer({ min: 0x80, max: 0xd7ff }),
        fc.integer({ min: 0xe000, max: 0x2ffff }),
        fc.integer({ min: 0x20, max: 0x7e }),
      )
      .map((point) => String.fromCodePoint(point))
      .filter((text) => text.normalize('NFKC') === text)
    const passwords = fc.array(unit, { minLength: 1, maxLength: 6 }).map((units) => units.join(''))
    await fc.assert(fc.asyncProperty(passwords, agrees), { numRuns: 300 })
  })

  // PostgreSQL looks for what RFC 4013 prohibits before normalizing, the RFC and the library after it.
  // Of all single characters 751 are concerned; SCRAM keys instead of a password do for them too.
  test.each([
    ['is newer than Unicode 3.2 and is normalized to something older', '\u{1f130}'],
    ['is a Hebrew presentation form', '\ufb2a'],
  ])('is not prepared as PostgreSQL does where it %s', async (_what, password) => {
    expect(await agrees(password)).toBe(false)
  })
})
