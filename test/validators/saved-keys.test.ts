/** `keys.persist`: a start while the provider is down, with the keys of the process before. */
import {
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import jwt from '../../validators/jwt.ts'
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { expectNoPartOf, SETTINGS } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'
import { signingKey } from './support/signing-key.ts'

const HOUR = 3_600_000

const start = (
  server: AuthorizationServer,
  directory: TemporaryDirectory,
  settings: { readonly keys?: Record<string, unknown>; readonly [name: string]: unknown } = {},
): Promise<Runner> =>
  startValidator({
    init: jwt,
    settings: {
      ...SETTINGS,
      prefetch: 'required',
      ...settings,
      keys: { persist: directory.path, ...settings.keys },
    },
    issuers: [server.issuer],
  })

/** A process that runs, gets the keys, and ends. */
async function runOnce(...args: Parameters<typeof start>): Promise<string[]> {
  await using runner = await start(...args)
  return runner.lines
}

async function onlyFile(directory: TemporaryDirectory): Promise<string> {
  const names = await readdir(directory.path)
  expect(names).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.json$/)])
  return join(directory.path, names[0]!)
}

interface Saved {
  version: number
  name: string
  savedAt: number
  keys: Record<string, unknown>[]
}

async function change(file: string, how: (saved: Saved) => unknown): Promise<void> {
  const saved = JSON.parse(await readFile(file, 'utf8')) as Saved
  await writeFile(file, JSON.stringify(how(saved)))
}

/** The start fails as it would without any saved keys; says what the log says. */
async function expectNotUsed(
  server: AuthorizationServer,
  directory: TemporaryDirectory,
  why: string,
): Promise<void> {
  await using runner = await start(server, directory, { prefetch: 'off' })
  await expect(runner.run(server.token())).rejects.toMatchObject({ code: 'provider_unavailable' })
  expect(runner.lines.join('\n')).toContain(why)
}

afterEach(() => {
  vi.useRealTimers()
})

describe('saved keys', () => {
  it('let people in after a restart in an outage, and nobody else', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await runOnce(server, directory)
    server.fail()
    await using runner = await start(server, directory)
    expect(await runner.run(server.token())).toMatchObject({ authorized: true, authnId: 'alice' })
    expect(await runner.run(server.token({}, { kid: 'invented' }))).toMatchObject({
      code: 'no_matching_key',
    })
    server.key = signingKey('ES256', server.key.kid)
    expect(await runner.run(server.token())).toMatchObject({ code: 'bad_signature' })
    expect(runner.lines.join('\n')).toContain('are those that were saved')
    expect(runner.lines.join('\n')).toContain('"keys":"kept"')
  })

  it('are not there without the setting', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await runOnce(server, directory, { keys: { persist: undefined } })
    expect(await readdir(directory.path)).toEqual([])
    server.fail()
    await expect(start(server, directory)).rejects.toThrow('status 503')
  })

  it('are not used while the provider answers, whatever they say', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await runOnce(server, directory)
    const file = await onlyFile(directory)
    const stranger = signingKey('ES256', 'k1')
    await change(file, (saved) => ({ ...saved, keys: [stranger.jwk] }))
    await using runner = await start(server, directory)
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
    server.key = stranger
    expect(await runner.run(server.token())).toMatchObject({ code: 'bad_signature' })
  })

  it('give way to those of the provider as soon as it is back', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await runOnce(server, directory)
    server.fail()
    vi.spyOn(Math, 'random').mockReturnValue(0)
    await using runner = await start(server, directory)
    vi.restoreAllMocks()
    const old = server.token()
    expect(await runner.run(old)).toMatchObject({ authorized: true })
    server.recover()
    server.rotate('k2', { dropOld: true })
    await vi.waitFor(async () => {
      expect(await runner.run(server.token())).toMatchObject({ authorized: true })
    }, 10_000)
    expect(await runner.run(old)).toMatchObject({ code: 'no_matching_key' })
  })

  it('forget a key that the provider removed', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    const old = server.token()
    {
      await using runner = await start(server, directory)
      expect(await runner.run(old)).toMatchObject({ authorized: true })
      server.rotate('k2', { dropOld: true })
      expect(await runner.run(server.token())).toMatchObject({ authorized: true })
    }
    server.fail()
    await using runner = await start(server, directory)
    expect(await runner.run(old)).toMatchObject({ code: 'no_matching_key' })
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
  })

  it('are nobody’s where the provider published none', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    const token = server.token()
    {
      await using runner = await start(server, directory)
      server.jwks = { keys: [] }
      await runner.run(server.token({}, { kid: 'invented' }))
    }
    server.fail()
    await using runner = await start(server, directory, { prefetch: 'off' })
    expect(await runner.run(token)).toMatchObject({ code: 'no_matching_key' })
  })
})

describe('the time of saved keys', () => {
  it('ends when it would have ended without the restart', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await runOnce(server, directory)
    server.fail()
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    vi.advanceTimersByTime(HOUR - 60_000)
    await using runner = await start(server, directory)
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
    vi.advanceTimersByTime(61_000)
    await expect(runner.run(server.token())).rejects.toMatchObject({ code: 'provider_unavailable' })
  })

  it('is not prolonged by a restart', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await runOnce(server, directory)
    server.fail()
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    for (let restart = 0; restart < 3; restart += 1) {
      vi.advanceTimersByTime(HOUR / 3 - 5_000)
      await runOnce(server, directory)
    }
    vi.advanceTimersByTime(20_000)
    await expectNotUsed(server, directory, 'is too old')
  })

  it('does not come from the future, or from no time', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await runOnce(server, directory)
    server.fail()
    const file = await onlyFile(directory)
    const now = Math.floor(Date.now() / 1_000)
    for (const savedAt of [now + 60, -1, String(now), null, undefined, 1e308, now + 0.5 - 10]) {
      await change(file, (saved) => ({ ...saved, savedAt }))
      await expectNotUsed(server, directory, 'is too old')
    }
  })

  it('is none where keys must not be stale', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    const keys = { stale_until: 0 }
    await runOnce(server, directory, { keys })
    server.fail()
    await expect(start(server, directory, { keys })).rejects.toThrow('status 503')
  })
})

describe('the file', () => {
  it('is for our eyes only, whatever the umask, and nothing else is left behind', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    const umask = process.umask(0)
    try {
      await runOnce(server, directory)
    } finally {
      process.umask(umask)
    }
    const { mode } = await stat(await onlyFile(directory))
    expect(mode & 0o7777).toBe(0o600)
  })

  it('holds public keys and no token', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    const rsa = signingKey('RS256', 'rsa')
    const weak = signingKey('RS256', 'weak', { bits: 1024 })
    const secret = { ...signingKey('ES256', 'open').privateKey.export({ format: 'jwk' }) }
    const more = { x5c: ['MII'], x5t: 'x', note: 'whatever a provider writes' }
    server.jwks = {
      keys: [
        { ...server.key.jwk, ...more },
        rsa.jwk,
        weak.jwk,
        { ...secret, kid: 'open' },
        { kty: 'oct', k: 'c2VjcmV0', kid: 'shared' },
      ],
    }
    const token = server.token()
    {
      await using runner = await start(server, directory)
      expect(await runner.run(token)).toMatchObject({ authorized: true })
    }
    const text = await readFile(await onlyFile(directory), 'utf8')
    const saved = JSON.parse(text) as Saved
    expect(Object.keys(saved)).toEqual(['version', 'name', 'savedAt', 'keys'])
    const { kty, crv, x, y } = server.key.jwk
    expect(saved.keys[0]).toEqual({ kty, crv, x, y, kid: 'k1', alg: 'ES256' })
    expect(saved.keys.map(({ kid }) => kid)).toEqual(['k1', 'rsa'])
    expectNoPartOf(token, [text])
  })

  it('cannot be replaced by what others could write', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await runOnce(server, directory)
    server.fail()
    const file = await onlyFile(directory)
    for (const mode of [0o640, 0o604, 0o620, 0o602, 0o666]) {
      await chmod(file, mode)
      await expectNotUsed(server, directory, 'is not closed to others')
    }
    await chmod(file, 0o600)
    const elsewhere = `${file}.elsewhere`
    await rename(file, elsewhere)
    await symlink(elsewhere, file)
    await expectNotUsed(server, directory, 'ELOOP')
    await rm(file)
    await mkdir(file)
    await expectNotUsed(server, directory, 'not a regular file')
  })

  it('is of these settings only: not of another issuer, nor of a weaker policy', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await using other = await AuthorizationServer.start()
    await runOnce(other, directory)
    const theirs = await onlyFile(directory)
    await runOnce(server, directory)
    const ours = (await readdir(directory.path))
      .map((name) => join(directory.path, name))
      .find((file) => file !== theirs)!
    await copyFile(theirs, ours)
    server.fail()
    await expectNotUsed(server, directory, 'belongs to other settings')
    other.fail()
    const stricter = { prefetch: 'off', keys: { min_rsa_bits: 3072 } }
    await using runner = await start(other, directory, stricter)
    await expect(runner.run(other.token())).rejects.toMatchObject({ code: 'provider_unavailable' })
  })

  const broken: readonly (readonly [string, string, (saved: Saved) => unknown])[] = [
    ['of another version', 'belongs to other settings', (saved) => ({ ...saved, version: 2 })],
    ['with a member twice', 'twice', () => undefined],
    ['that is a list', 'not a JSON object', (saved) => [saved]],
    ['without keys', 'not a key set', (saved) => ({ ...saved, keys: undefined })],
    ['with too many keys', 'too many items', (s) => ({ ...s, keys: Array(65).fill(s.keys[0]) })],
    ['of a megabyte', 'usable size', (saved) => ({ ...saved, x: 'y'.repeat(1_100_000) })],
  ]
  for (const [name, why, how] of broken) {
    it(`${name} is not used`, async () => {
      await using directory = await makeTemporaryDirectory()
      await using server = await AuthorizationServer.start()
      await runOnce(server, directory)
      server.fail()
      const file = await onlyFile(directory)
      if (why === 'twice') {
        await writeFile(file, (await readFile(file, 'utf8')).replace('{', '{"version":1,'))
      } else {
        await change(file, how)
      }
      await expectNotUsed(server, directory, why)
    })
  }

  it('that was written half is not used, and is written again', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await runOnce(server, directory)
    const file = await onlyFile(directory)
    const whole = await readFile(file, 'utf8')
    await writeFile(file, whole.slice(0, whole.length / 2))
    server.fail()
    await expectNotUsed(server, directory, 'saved keys are not used')
    server.recover()
    await runOnce(server, directory)
    server.fail()
    await using runner = await start(server, directory)
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
  })

  it('that cannot be written is a warning, and logins go on', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    const gone = await makeTemporaryDirectory()
    await using runner = await start(server, gone, { prefetch: 'off' })
    await gone[Symbol.asyncDispose]()
    expect(await runner.run(server.token())).toMatchObject({ authorized: true })
    await vi.waitFor(() => expect(runner.lines.join('\n')).toContain('cannot save keys'))
    expect(await readdir(directory.path)).toEqual([])
  })
})

describe('the setting keys.persist', () => {
  it('names a directory that is there, and that nobody else can write to', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    const named = (persist: string): Promise<Runner> =>
      start(server, directory, { keys: { persist } })
    await expect(named(join(directory.path, 'nowhere'))).rejects.toThrow('is not a directory')
    const file = await directory.write('file', '')
    await expect(named(file)).rejects.toThrow('is not a directory')
    await expect(named('')).rejects.toThrow('keys.persist')
    for (const mode of [0o770, 0o707, 0o1777]) {
      await chmod(directory.path, mode)
      await expect(named(directory.path)).rejects.toThrow('nobody else can write')
    }
    expect(server.total).toBe(0)
  })

  it('is for keys that are fetched', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    await expect(start(server, directory, { jwks: server.jwks })).rejects.toThrow('keys.persist')
  })

  it('writes nothing where the settings are only checked', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    const log = { debug: () => undefined, log: () => undefined, warning: () => undefined }
    const module = await jwt(
      {
        audiences: SETTINGS.audiences,
        prefetch: 'required',
        keys: { persist: directory.path },
        http: { egress: 'any' },
      },
      {
        name: 'jwt',
        log,
        baseDirectory: directory.path,
        issuers: [server.issuer],
        rules: [],
        checkOnly: true,
      },
    )
    await module[Symbol.asyncDispose]?.()
    expect(await readdir(directory.path)).toEqual([])
    expect(server.total).toBe(0)
  })
})
