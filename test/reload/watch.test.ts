/** `reload_on_change`: what is watched, and what a change comes to. */
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { createServerFromFile } from '../../src/server.ts'
import { silentLog } from '../../src/log.ts'
import { withCertificates } from '../support/certificates.ts'
import { fixtureValidator } from '../support/oauth-proxy.ts'
import type { LogLine } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import { startupMessage } from '../support/wire-bytes.ts'
import { type FileProxy, settingsText, startFileProxy } from './support.ts'

const certificates = withCertificates()

const WATCHED = 'reload_on_change = true'
const UPSTREAM = 'host = "127.0.0.1"\nport = 1\nsslmode = "disable"\nusers_file = "users.toml"'

/** Resolves once `fits` holds for so many lines. */
async function lines(
  proxy: FileProxy,
  fits: (line: LogLine) => boolean,
  count = 1,
): Promise<readonly LogLine[]> {
  const found = (): LogLine[] => proxy.lines.filter(fits)
  await expect.poll(() => found().length, { timeout: 10_000 }).toBeGreaterThanOrEqual(count)
  return found()
}

const reloaded = ({ msg }: LogLine): boolean => msg === 'configuration was reloaded'
const notReloaded = ({ msg }: LogLine): boolean => msg === 'configuration was not reloaded'
const changed = ({ msg }: LogLine): boolean => msg === 'configuration files have changed'

/** What changed last. */
function filesOf(proxy: FileProxy): string[] {
  const files = proxy.lines.filter(changed).at(-1)?.['files']
  return [...(files as string[])].sort()
}

async function isTrusted(port: number, user: string): Promise<boolean> {
  const client = await rawClient({ port })
  client.send(startupMessage({ user, database: 'postgres' }))
  const { type } = await client.readMessage()
  client.destroy()
  return type === 'R'
}

const trust = (user: string): string => `host all ${user} 127.0.0.1/32 trust\n`

async function start(files: Readonly<Record<string, string>> = {}): Promise<FileProxy> {
  return await startFileProxy({
    settings: WATCHED,
    files: { 'pg_hba.conf': trust('ann'), ...files },
  })
}

test('new rules count without a signal, after one reload for all that changed', async () => {
  const proxy = await start()
  proxy.write('pg_hba.conf', trust('bob'))
  proxy.write('pg_ident.conf', 'm ann ann\n')
  await lines(proxy, reloaded)
  expect(await isTrusted(proxy.port, 'bob')).toBe(true)
  expect(await isTrusted(proxy.port, 'ann')).toBe(false)
  expect(filesOf(proxy)).toEqual([proxy.path('pg_hba.conf'), proxy.path('pg_ident.conf')])
  expect(proxy.lines.filter(changed)).toHaveLength(1)
})

test('a file that is half written changes nothing, is told of once, and counts when it is whole', async () => {
  const proxy = await start()
  proxy.write('pg_hba.conf', `${trust('bob')}host all c`)
  await lines(proxy, notReloaded)
  const [mistake] = proxy.lines.filter(({ level, file }) => level === 'error' && file !== undefined)
  expect(mistake).toMatchObject({ file: proxy.path('pg_hba.conf'), line: 2 })
  expect(await isTrusted(proxy.port, 'ann')).toBe(true)
  expect(await isTrusted(proxy.port, 'bob')).toBe(false)
  proxy.write('pg_hba.conf', trust('bob') + trust('carol'))
  await lines(proxy, reloaded)
  expect(await isTrusted(proxy.port, 'carol')).toBe(true)
  expect(proxy.lines.filter(notReloaded)).toHaveLength(1)
})

test('a change is seen in each file that a load looks at, whether or not it is there', async () => {
  const { cert, key } = certificates().server
  const present = {
    'pg_hba.conf':
      'host all @people 127.0.0.1/32 trust\ninclude_dir more\ninclude_if_exists later.conf\n',
    people: 'ann\n',
    'more/one.conf': trust('one'),
    'server.crt': cert,
    'server.key': key,
    'ca.crt': cert,
    'upstream-ca.crt': cert,
    'users.toml': '[ann]\npassword = { file = "ann.password" }\n',
    'ann.password': 'secret\n',
    'acme.js': "import './helper.js'\nexport { apiVersion, validate } from './helper.js'\n",
    'helper.js': readFileSync(fixtureValidator('accepts-anything'), 'utf8'),
  }
  const options = {
    settings: `${WATCHED}\nssl = true\nssl_ca_file = "ca.crt"`,
    upstream: `${UPSTREAM}\nsslrootcert = "upstream-ca.crt"`,
    validators: ['./acme.js'],
  }
  const proxy = await startFileProxy({ ...options, files: present })
  const changes = {
    'pgbearer.toml': settingsText(options),
    ...present,
    'pg_ident.conf': 'm ann ann\n',
    'later.conf': trust('later'),
    // What is seen of it is its directory.
    'more/two.conf': trust('two'),
  }
  for (const [file, text] of Object.entries(changes)) {
    proxy.write(file, text)
  }
  await lines(proxy, reloaded)
  const names = ['more', ...Object.keys(changes)].filter((name) => name !== 'more/two.conf')
  expect(filesOf(proxy)).toEqual(names.map(proxy.path).sort())
  expect(await isTrusted(proxy.port, 'two')).toBe(true)
  expect(await isTrusted(proxy.port, 'later')).toBe(true)
  expect(proxy.lines.filter(notReloaded)).toEqual([])
})

test('a file that only the mistaken rules name is watched as well', async () => {
  const proxy = await start()
  proxy.write('pg_hba.conf', 'include more.conf\n')
  await lines(proxy, notReloaded)
  proxy.write('more.conf', trust('bob'))
  await lines(proxy, reloaded)
  expect(await isTrusted(proxy.port, 'bob')).toBe(true)
})

test('files are watched only where the settings say so', async () => {
  const proxy = await start()
  const settings = readFileSync(proxy.path('pgbearer.toml'), 'utf8')
  writeFileSync(proxy.path('other.toml'), settings.replace(WATCHED, ''))
  const other = await createServerFromFile(proxy.path('other.toml'), silentLog)
  onTestFinished(() => other.close({ timeout: 0 }))
  proxy.write('pg_hba.conf', trust('bob'))
  await lines(proxy, reloaded)
  proxy.write('pg_hba.conf', trust('carol'))
  await lines(proxy, reloaded, 2)
  const [address] = other.addresses
  expect(await isTrusted(address?.kind === 'tcp' ? address.port : 0, 'ann')).toBe(true)
})

test('a reload can begin to watch, and end it', async () => {
  const proxy = await startFileProxy({ files: { 'pg_hba.conf': trust('ann') } })
  const unwatched = readFileSync(proxy.path('pgbearer.toml'), 'utf8')
  proxy.write('pgbearer.toml', `${WATCHED}\n${unwatched}`)
  await proxy.hangup()
  proxy.write('pg_hba.conf', trust('bob'))
  await lines(proxy, changed)
  await lines(proxy, reloaded, 2)
  proxy.write('pgbearer.toml', unwatched)
  await lines(proxy, reloaded, 3)
  proxy.fresh()
  const witness = await startFileProxy({
    settings: `${WATCHED}\nhba_file = ${JSON.stringify(proxy.path('pg_hba.conf'))}`,
    files: {},
  })
  for (const round of [1, 2]) {
    proxy.write('pg_hba.conf', trust(`round${round}`))
    await lines(witness, reloaded, round)
  }
  expect(proxy.fresh().some(changed)).toBe(false)
})
