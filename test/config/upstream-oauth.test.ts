import { chmod } from 'node:fs/promises'
import path from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadSettingsFile, settingsFromObject } from '../../src/config/load-settings.ts'
import { readSecret } from '../../src/config/secret-place.ts'
import { ConfigError } from '../../src/errors.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const problemsOf = (load: () => unknown): string => {
  try {
    load()
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as ConfigError).message
  }
  return ''
}

const problems = (oauth: unknown): string =>
  problemsOf(() => settingsFromObject({ upstream: { host: 'db', oauth } as never }))

const CLIENT = { issuer: 'https://login.example', client_id: 'pgbearer' }

describe('[upstream.oauth]', () => {
  test.each([
    [{ token: 'forward' }],
    [{ token: 'provider', source: { environment: 'azure', resource: 'api://db' } }],
    [
      {
        token: 'provider',
        source: { environment: 'client-credentials', ...CLIENT, client_secret: { env: 'SECRET' } },
      },
    ],
    [{ token: 'provider', source: { environment: 'exec', command: ['token', '--for', 'db'] } }],
    [{ token: 'exchange', source: CLIENT }],
    [{ token: 'exchange', source: { ...CLIENT, client_secret: { file: 'secret' } } }],
  ])('may be %j', (oauth) => {
    expect(problems(oauth)).toBe('')
  })

  test('is absent unless it is written', () => {
    expect(settingsFromObject({ upstream: { host: 'db' } }).upstream.oauth).toBeUndefined()
  })

  test.each<[string, unknown]>([
    ['an empty table', {}],
    ['true', true],
    ['the word alone', 'forward'],
    ['another word', { token: 'forwarded' }],
    ['capital letters', { token: 'Forward' }],
    ['a list', { token: ['forward'] }],
    ['true as the word', { token: true }],
    ['a source alone', { source: CLIENT }],
    ['forward as a name', { forward: true }],
    ['forward with a source', { token: 'forward', source: CLIENT }],
  ])('does not forward by accident: %s', (_what, oauth) => {
    expect(problems(oauth)).toMatch(/upstream\.oauth/)
  })

  test.each<[string, unknown, RegExp]>([
    ['no source', { token: 'provider' }, /"upstream\.oauth\.source"/],
    [
      'a source that asks a person',
      { token: 'provider', source: { environment: 'device', ...CLIENT } },
      /must name a source that needs no person/,
    ],
    [
      'a source of another kind',
      { token: 'provider', source: CLIENT },
      /must name a source that needs no person/,
    ],
    [
      'an exchange by the name of a source',
      { token: 'exchange', source: { environment: 'azure', resource: 'x' } },
      /upstream\.oauth\.source/,
    ],
    [
      'an issuer without TLS',
      { token: 'exchange', source: { ...CLIENT, issuer: 'http://login.example' } },
      /must be an https URL/,
    ],
    [
      'a property of another source',
      { token: 'provider', source: { environment: 'gcp', resource: 'x', path: 'y' } },
      /unrecognized configuration parameter "upstream\.oauth\.source\.path"/,
    ],
    [
      'a subject token',
      { token: 'exchange', source: { ...CLIENT, subject_token: 'x' } },
      /unrecognized configuration parameter "upstream\.oauth\.source\.subject_token"/,
    ],
    [
      'names of JavaScript',
      { token: 'exchange', source: { ...CLIENT, clientSecret: { env: 'X' } } },
      /"upstream\.oauth\.source\.clientSecret", perhaps you meant "upstream\.oauth\.source\.client_secret"/,
    ],
    ['a mistyped word', { tokn: 'forward' }, /upstream\.oauth/],
  ])('refuses %s', (_what, oauth, message) => {
    expect(problems(oauth)).toMatch(message)
  })

  test('takes no secret as it is, and does not repeat it', () => {
    const source = { ...CLIENT, client_secret: 'hunter2-hunter2' }
    for (const oauth of [
      { token: 'exchange', source },
      { token: 'provider', source: { environment: 'client-credentials', ...source } },
    ]) {
      expect(problems(oauth)).toContain('a secret does not stand in the settings')
      expect(problems(oauth)).not.toContain('hunter2')
    }
  })

  test('says which line is wrong', async () => {
    const directory = await temporaryDirectory()
    const file = await directory.write(
      'pgbearer.toml',
      `[upstream]
host = "db"
[upstream.oauth]
token = "exchange"
[upstream.oauth.source]
issuer = "https://login.example"
client_idd = "pgbearer"
`,
    )
    const message = problemsOf(() => loadSettingsFile(file))
    expect(message).toContain(
      `${file}:7: unrecognized configuration parameter "upstream.oauth.source.client_idd", perhaps you meant "upstream.oauth.source.client_id"`,
    )
    expect(message).toContain(`${file}:5: parameter "upstream.oauth.source.client_id" is required`)
  })
})

describe('a secret', () => {
  test('comes from a file without its last newline, or from the environment', async () => {
    const directory = await temporaryDirectory()
    const file = await directory.write('secret', 'hunter2\n')
    expect(readSecret({ file: 'secret' }, path.dirname(file))).toBe('hunter2')
    process.env['PGBEARER_TEST_SECRET'] = 'from the environment'
    onTestFinished(() => {
      delete process.env['PGBEARER_TEST_SECRET']
    })
    expect(readSecret({ env: 'PGBEARER_TEST_SECRET' }, '/')).toBe('from the environment')
  })

  test('is not taken from a file that others may read, is empty or is not there', async () => {
    const directory = await temporaryDirectory()
    const file = await directory.write('secret', 'hunter2\n')
    await chmod(file, 0o644)
    const read = (place: string) => () => readSecret({ file: place }, path.dirname(file))
    expect(read('secret')).toThrow('has group or world access')
    await directory.write('empty', '\n')
    expect(read('empty')).toThrow('is empty')
    expect(read('missing')).toThrow('ENOENT')
    expect(() => readSecret({ env: 'PGBEARER_NO_SUCH_SECRET' }, '/')).toThrow('is not set')
  })

  test('is nowhere in the settings', () => {
    const settings = settingsFromObject({
      upstream: {
        host: 'db',
        oauth: { token: 'exchange', source: { ...CLIENT, client_secret: { env: 'PATH' } } },
      },
    })
    expect(inspect(settings, { depth: 9, showHidden: true })).not.toContain(process.env['PATH'])
  })
})
