/** What an operator reads where the settings are wrong. */
import { once } from 'node:events'
import net from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadSettingsFile } from '../../src/config/load-settings.ts'
import { nearestName } from '../../src/config/nearest-name.ts'
import type { ConfigError } from '../../src/errors.ts'
import { runCli } from '../support/child-process.ts'
import { configure, runCheck } from '../commands/support.ts'

const UPSTREAM = '[upstream]\nhost = "127.0.0.1"\n'

function errorsOf(text: string): string[] {
  const { config, directory } = configure({ 'pgbearer.toml': text })
  try {
    loadSettingsFile(config)
  } catch (error) {
    return (error as ConfigError).message.replaceAll(`${directory}/`, '').split('\n')
  }
  throw new Error('the settings are fine')
}

const value = (name: string): string => `invalid value for parameter "${name}"`

describe('a mistake in the settings', () => {
  test.each([
    ['port = "6432"', `pgbearer.toml:1: ${value('port')}: must be a number`],
    ['port = 99999', `pgbearer.toml:1: ${value('port')}: must be at most 65535`],
    ['max_connections = 0', `pgbearer.toml:1: ${value('max_connections')}: must be at least 1`],
    ['port = 1.5', `pgbearer.toml:1: ${value('port')}: must be an integer`],
    ['ssl = "on"', `pgbearer.toml:1: ${value('ssl')}: must be true or false`],
    ['log_connections = "all"', `pgbearer.toml:1: ${value('log_connections')}: must be a list`],
    [
      'log_format = "xml"',
      `pgbearer.toml:1: ${value('log_format')}: must be one of "json", "text"`,
    ],
    ['hba_file = ""', `pgbearer.toml:1: ${value('hba_file')}: must not be empty`],
    [
      'shutdown_timeout = true',
      `pgbearer.toml:1: ${value('shutdown_timeout')}: must be a time, such as "30s" or "1min"`,
    ],
    [
      'shutdown_timeout = "soon"',
      `pgbearer.toml:1: ${value('shutdown_timeout')}: "soon" is not a time (valid units are "us", "ms", "s", "min", "h" and "d")`,
    ],
    [
      'prot = 1',
      'pgbearer.toml:1: unrecognized configuration parameter "prot", perhaps you meant "port"',
    ],
  ])('%s is named with its line, and said without words of a schema', (line, wanted) => {
    expect(errorsOf(`${line}\n${UPSTREAM}`)).toEqual([wanted])
  })

  test('that leaves something out is at the table that lacks it', () => {
    expect(errorsOf('port = 1\n[upstream]\nport = 5432\n')).toEqual([
      'pgbearer.toml:2: parameter "upstream.host" is required',
    ])
    expect(errorsOf('port = 1\n')).toEqual(['pgbearer.toml: parameter "upstream" is required'])
  })

  test('comes in the order of the lines', () => {
    const lines = errorsOf(`prt = 1\nport = "x"\nhba_fil = "x"\n${UPSTREAM}prt = 1\n`)
    expect(lines.map((line) => line.split(':')[1])).toEqual(['1', '2', '3', '6'])
  })

  test('in how the server behind is verified has the line of sslmode, and hides nothing else', async () => {
    const { config, path } = configure({
      'pgbearer.toml': '[upstream]\nhost = "db"\nsslmode = "verify-full"\n',
      'pg_hba.conf': 'host all all 1.2.3.4/99 reject\n',
    })
    const { status, stderr } = await runCheck({ config })
    expect(status).toBe(1)
    expect(stderr.split('\n')).toEqual([
      `${config}:3: ${value('upstream.sslmode')}: sslmode "verify-full" needs sslrootcert: a file of authorities, or "system" with "verify-full"`,
      `${path('pg_hba.conf')}:1: invalid CIDR mask in address "1.2.3.4/99"`,
      '',
    ])
  })

  test('in a file of authorities is found before anybody is asked to prove anything by it', async () => {
    const { config, path } = configure({
      'pgbearer.toml': `${UPSTREAM}sslmode = "verify-full"\nsslrootcert = "ca.crt"\n`,
      'pg_hba.conf': 'local all all reject\n',
      'ca.crt': 'not a certificate',
    })
    const { status, stderr } = await runCheck({ config })
    expect(status).toBe(1)
    expect(stderr).toBe(
      `${path('ca.crt')}: could not load file: it does not begin with a certificate in PEM\n`,
    )
  })
})

describe('serve', () => {
  test('names file and line of what is wrong with a module, and nothing of our code', async () => {
    const { config } = configure({
      'pgbearer.toml': `oauth_validator_libraries = ["jwt"]\n\n[validators.jwt]\n${UPSTREAM}`,
      'pg_hba.conf': 'local all all reject\n',
    })
    const { status, stdout, stderr } = await runCli(['serve', '-c', config])
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toBe(
      `${config}:3: init function of OAuth validator module "jwt" failed: SettingsError: audiences: is required\n`,
    )
  })

  test('says which file is not there, as PostgreSQL does', async () => {
    expect(await runCli(['serve', '-c', '/nonexistent/pgbearer.toml'])).toMatchObject({
      status: 1,
      stderr:
        '/nonexistent/pgbearer.toml: could not open file "/nonexistent/pgbearer.toml": No such file or directory\n',
    })
  })

  test('says which address it could not have', async () => {
    const other = net.createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void other.close())
    await once(other, 'listening')
    const { port } = other.address() as net.AddressInfo
    const { config } = configure({
      'pgbearer.toml': `listen_addresses = ["127.0.0.1"]\nport = ${port}\n${UPSTREAM}`,
      'pg_hba.conf': 'local all all reject\n',
    })
    const { status, stderr } = await runCli(['serve', '-c', config])
    expect(status).toBe(1)
    expect(stderr).toBe(
      `pgbearer: could not bind address "127.0.0.1", port ${port}: Address already in use\n`,
    )
  })
})

describe('the nearest name', () => {
  test.each([
    ['prot', 'port'],
    ['sslmdoe', 'sslmode'],
    ['log_conections', 'log_connections'],
  ])('to %s is %s', (written, meant) => {
    expect(nearestName(written, ['port', 'sslmode', 'log_connections', 'host'])).toBe(meant)
  })

  test.each(['trop', 'ssl', 'xyz', ''])('to %j is none', (written) => {
    expect(nearestName(written, ['port', 'sslmode', 'log_connections'])).toBeUndefined()
  })
})
