/** The program itself: signals, reload, exit codes, and what it writes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Program, runCli, startCli } from '../support/child-process.ts'
import { fixtureValidator, ISSUER } from '../support/oauth-proxy.ts'
import { withPostgres } from '../support/postgres.ts'
import { rawClient } from '../support/raw-client.ts'
import { query, startupMessage } from '../support/wire-bytes.ts'

const postgres = withPostgres({ hba: 'host all all 127.0.0.1/32 trust' })

const TRUST = 'host all all 127.0.0.1/32 trust\n'

interface Serving {
  readonly program: Program
  readonly port: number
  readonly write: (name: string, text: string) => void
}

function configure(files: Readonly<Record<string, string>>): {
  directory: string
  write: Serving['write']
} {
  const directory = mkdtempSync(path.join(tmpdir(), 'pgbearer-serve-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const write = (name: string, text: string): void =>
    writeFileSync(path.join(directory, name), text)
  for (const [name, text] of Object.entries(files)) {
    write(name, text)
  }
  return { directory, write }
}

const settings = (more = '') => `
listen_addresses = ["127.0.0.1"]
port = 0
oauth_validator_libraries = [${JSON.stringify(fixtureValidator('accepts-anything'))}]
${more}
[upstream]
host = "${postgres().host}"
port = ${postgres().port}
sslmode = "disable"
`

async function serving({ more = '', hba = TRUST } = {}): Promise<Serving> {
  const { directory, write } = configure({ 'pgbearer.toml': settings(more), 'pg_hba.conf': hba })
  const program = startCli(['serve', '-c', path.join(directory, 'pgbearer.toml')])
  const [, port] = await program.waitFor(/listening on IPv4 address \\"127\.0\.0\.1\\", port (\d+)/)
  await program.waitFor(/ready to accept connections/)
  return { program, port: Number(port), write }
}

async function session(port: number): Promise<Client> {
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: postgres().superuser,
    database: postgres().superuser,
  })
  client.on('error', () => {})
  await client.connect()
  return client
}

describe('SIGTERM', () => {
  it('lets sessions finish, takes no more, and exits 0', async () => {
    const { program, port } = await serving()
    const client = await session(port)
    program.kill('SIGTERM')
    await program.waitFor(/waiting for sessions to finish/)
    await expect(session(port)).rejects.toThrow(/ECONNREFUSED|ECONNRESET/)
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await client.end()
    expect(await program.ended).toMatchObject({ status: 0 })
  })

  it('ends sessions with 57P01 when shutdown_timeout is over', async () => {
    const { program, port } = await serving({ more: 'shutdown_timeout = "200ms"' })
    const client = await session(port)
    const ended = new Promise<{ code?: string }>((resolve) => {
      client.on('error', (error: Error & { code?: string }) => resolve(error))
    })
    program.kill('SIGTERM')
    expect((await ended).code).toBe('57P01')
    expect(await program.ended).toMatchObject({ status: 0 })
  })

  it('sent again ends sessions at once', async () => {
    const { program, port } = await serving({ more: 'shutdown_timeout = "1h"' })
    await session(port)
    program.kill('SIGTERM')
    await program.waitFor(/waiting for sessions to finish/)
    program.kill('SIGTERM')
    expect(await program.ended).toMatchObject({ status: 0 })
    expect(program.stderr()).toContain('ending all sessions')
  })

  it('ends logins that are under way when shutdown_timeout is over', async () => {
    const { program, port } = await serving({
      more: 'shutdown_timeout = "100ms"',
      hba: `host all all 127.0.0.1/32 oauth issuer=${ISSUER} scope=db\n`,
    })
    const client = await rawClient({ port })
    client.send(startupMessage({ user: 'alice' }))
    expect((await client.readMessage()).type).toBe('R')
    program.kill('SIGTERM')
    await client.expectClose()
    expect(await program.ended).toMatchObject({ status: 0 })
  })

  it('ends a session in the middle of an answer without a word in it', async () => {
    const { program, port } = await serving({ more: 'shutdown_timeout = "1ms"' })
    const client = await rawClient({ port })
    const { superuser } = postgres()
    client.send(startupMessage({ user: superuser, database: superuser }))
    await client.readUntil('Z')
    client.send(query("select repeat('x', 60000000)"))
    await client.read(1000)
    client.socket.pause()
    program.kill('SIGTERM')
    expect(await program.ended).toMatchObject({ status: 0 })
    client.socket.resume()
    expect((await client.readToEnd()).includes('57P01')).toBe(false)
  })
})

describe('SIGHUP', () => {
  it('takes new rules for new connections and leaves sessions alone', async () => {
    const { program, port, write } = await serving()
    const client = await session(port)
    write('pg_hba.conf', 'host all all 127.0.0.1/32 reject\n')
    program.kill('SIGHUP')
    await program.waitFor(/configuration was reloaded/)
    await expect(session(port)).rejects.toMatchObject({ code: '28000' })
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await client.end()
  })

  it('keeps everything old where one line is wrong, and names every error', async () => {
    const { program, port, write } = await serving()
    write('pg_hba.conf', 'host all all 127.0.0.1/33 trust\nhost all all 127.0.0.1/32 no-such\n')
    write('pg_ident.conf', 'map only-two\n')
    program.kill('SIGHUP')
    await program.waitFor(/configuration was not reloaded/)
    const written = program.stderr()
    expect(written).toContain('invalid CIDR mask in address \\"127.0.0.1/33\\"')
    expect(written).toContain('invalid authentication method \\"no-such\\"')
    expect(written).toContain('missing entry at end of line')
    await (await session(port)).end()
  })
})

describe('a start', () => {
  it('fails with every error, each with its file and line', async () => {
    const { directory } = configure({
      'pgbearer.toml': settings(),
      'pg_hba.conf': 'local all\nhost all all 10.0.0.0/8 oauth scope=x\n',
    })
    const { status, stderr } = await runCli(['serve', '-c', path.join(directory, 'pgbearer.toml')])
    expect(status).toBe(1)
    expect(stderr).toContain('pg_hba.conf:1: end-of-line before role specification')
    expect(stderr).toContain(
      'pg_hba.conf:2: authentication method "oauth" requires argument "issuer" to be set',
    )
  })

  it('fails for a setting that does not exist, and names the nearest', async () => {
    const { directory } = configure({
      'pgbearer.toml': settings('authentification_timeout = "1min"'),
      'pg_hba.conf': TRUST,
    })
    const { status, stderr } = await runCli(['serve', '-c', path.join(directory, 'pgbearer.toml')])
    expect(status).toBe(1)
    expect(stderr).toMatch(
      /pgbearer\.toml:5: unrecognized configuration parameter "authentification_timeout", perhaps you meant "authentication_timeout"/,
    )
  })

  it('fails for a value out of its range', async () => {
    const { directory } = configure({
      'pgbearer.toml': settings('authentication_timeout = "11min"'),
      'pg_hba.conf': TRUST,
    })
    const { status, stderr } = await runCli(['serve', '-c', path.join(directory, 'pgbearer.toml')])
    expect(status).toBe(1)
    expect(stderr).toContain('11min is outside the valid range (1 s .. 600 s)')
  })

  it('fails where the settings file is missing', async () => {
    const { status, stderr } = await runCli(['serve', '-c', '/nowhere/pgbearer.toml'])
    expect(status).toBe(1)
    expect(stderr).toContain('could not open file "/nowhere/pgbearer.toml"')
  })

  it('is refused for wrong usage with exit code 2', async () => {
    expect((await runCli(['serve', '--no-such-option'])).status).toBe(2)
    expect((await runCli(['no-such-command'])).status).toBe(2)
  })
})
