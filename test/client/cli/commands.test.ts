import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import {
  type CommandStreams,
  type ExecCommandOptions,
  type TokenCommandOptions,
  runExec,
  runLogoutCommand,
  runTokenCommand,
} from '../../../src/client/index.ts'
import { RefreshTokenFile } from '../../../src/client/cli/refresh-token-file.ts'
import { CANCEL_REQUEST_CODE } from '../../../src/protocol/limits.ts'
import { type Route, refusal, scriptedIssuer, tokenAnswer } from '../support/scripted-issuer.ts'
import { type Script, honest, scriptedServer } from '../support/scripted-server.ts'

let directory: string
beforeAll(async () => {
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'pgb-cli-'))
})
afterAll(() => fs.rm(directory, { recursive: true, force: true }))

let files = 0
function freshPath(): string {
  files += 1
  return path.join(directory, `file-${files}`)
}
async function fileWith(text: string, mode = 0o600): Promise<string> {
  const file = freshPath()
  await fs.writeFile(file, text)
  await fs.chmod(file, mode)
  return file
}

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}
type Terminals = { readonly out?: boolean; readonly err?: boolean }
async function ran(
  run: (streams: CommandStreams) => Promise<number>,
  terminals: Terminals = {},
): Promise<Outcome> {
  let out = ''
  let err = ''
  const code = await run({
    stdout: { write: (text) => (out += text), isTTY: terminals.out ?? false },
    stderr: { write: (text) => (err += text), isTTY: terminals.err ?? false },
  })
  return { code, out, err }
}
const token = (options: TokenCommandOptions, terminals?: Terminals): Promise<Outcome> =>
  ran((streams) => runTokenCommand(options, streams), terminals)
const logout = (options: TokenCommandOptions): Promise<Outcome> =>
  ran((streams) => runLogoutCommand(options, streams))

const DEVICE: Route = () => ({
  json: {
    device_code: 'device-code',
    user_code: 'ABCD',
    verification_uri: 'https://login.example',
    expires_in: 60,
    interval: 1,
  },
})

describe('pgbearer token', () => {
  it('N1: prints the token and nothing else, raw or as JSON', async () => {
    const file = await fileWith('the-token\n')
    expect(await token({ source: 'file', path: file })).toEqual({
      code: 0,
      out: 'the-token\n',
      err: '',
    })
    await using issuer = await scriptedIssuer({
      '/token': () => tokenAnswer('t', { expires_in: 60 }),
    })
    const secret = await fileWith('s')
    const grant = {
      source: 'client-credentials',
      issuer: issuer.issuer,
      clientId: 'c',
      clientSecretFile: secret,
      allowInsecureIssuer: true,
    }
    const json = await token({ ...grant, format: 'json' })
    expect(JSON.parse(json.out)).toEqual({
      access_token: 't',
      token_type: 'Bearer',
      expires_in: 60,
    })
    expect(json.err).toBe('')
  })

  it('N1: refuses a terminal on stdout unless forced', async () => {
    const file = await fileWith('the-token')
    const refused = await token({ source: 'file', path: file }, { out: true })
    expect(refused).toMatchObject({ code: 2, out: '' })
    expect(refused.err).toContain('stdout is a terminal')
    const forced = await token({ source: 'file', path: file, force: true }, { out: true })
    expect(forced.out).toBe('the-token\n')
  })

  it('N2, N10: prompts a person on stderr, and nobody where no person is', async () => {
    await using issuer = await scriptedIssuer({
      '/device': DEVICE,
      '/token': () => tokenAnswer('t'),
    })
    const grant = { issuer: issuer.issuer, clientId: 'c', allowInsecureIssuer: true }
    const alone = await token(grant)
    expect(alone).toMatchObject({ code: 2, out: '' })
    expect(alone.err).toContain('nobody is at a terminal')
    expect(issuer.seen).toHaveLength(0)
    expect(await token(grant, { err: true })).toMatchObject({ code: 0, out: 't\n' })
    expect(await token({ ...grant, force: true })).toMatchObject({ code: 0, out: 't\n' })
  })

  it('N3: says by its exit code what went wrong, and why on stderr', async () => {
    await using refusing = await scriptedIssuer({
      '/token': () => refusal('access_denied', 'not \u001b[31myou'),
    })
    await using down = await scriptedIssuer({ '/token': () => 'drop' })
    const secret = await fileWith('s')
    const grant = (issuer: string): TokenCommandOptions => ({
      source: 'client-credentials',
      issuer,
      clientId: 'c',
      clientSecretFile: secret,
      allowInsecureIssuer: true,
    })
    const cases: [TokenCommandOptions, number, string][] = [
      [{ source: 'nonsense' }, 2, 'unknown token source'],
      [{ source: 'azure' }, 2, 'needs a valid resource'],
      [{ source: 'file', path: '/nonexistent' }, 2, 'ENOENT'],
      [{ ...grant('https://x'), clientSecretFile: '/nonexistent' }, 2, 'ENOENT'],
      [grant(refusing.issuer), 2, 'access_denied'],
      [grant(down.issuer), 1, 'failed'],
      [{ source: 'exec', tokenCommand: [process.execPath, '-e', 'process.exit(9)'] }, 1, 'code 9'],
    ]
    for (const [options, code, text] of cases) {
      const outcome = await token(options)
      expect(outcome).toMatchObject({ code, out: '' })
      expect(outcome.err).toContain(text)
      expect(outcome.err).toMatch(/^pgbearer: [^\u0000-\u0009\u000b-\u001f]*\n$/)
    }
  })

  it('N9: keeps refresh tokens 0600, replaced as a whole, or not at all', async () => {
    await using issuer = await scriptedIssuer({
      '/device': DEVICE,
      '/token': (_seen, n) => tokenAnswer(`t${n}`, { refresh_token: `refresh-${n}` }),
    })
    const grant = { issuer: issuer.issuer, clientId: 'c', allowInsecureIssuer: true, force: true }
    const file = path.join(directory, 'state', 'tokens.json')
    expect((await token({ ...grant, refreshTokenFile: file })).out).toBe('t1\n')
    const { mode } = await fs.stat(file)
    expect(mode & 0o777).toBe(0o600)
    expect((await fs.stat(path.dirname(file))).mode & 0o777).toBe(0o700)
    expect(await fs.readFile(file, 'utf8')).not.toContain('"t1"')
    expect((await token({ ...grant, refreshTokenFile: file })).out).toBe('t2\n')
    expect(issuer.at('/device')).toHaveLength(1)
    expect(issuer.at('/token')[1]!.form).toMatchObject({ refresh_token: 'refresh-1' })
    expect(await fs.readFile(file, 'utf8')).toContain('refresh-2')
    expect(await fs.readdir(path.dirname(file))).toEqual(['tokens.json'])
    await token(grant)
    expect(issuer.at('/device')).toHaveLength(2)
  })

  it('N9: refuses a file that others may read', async () => {
    for (const mode of [0o644, 0o640, 0o606]) {
      const file = await fileWith('{"version":1,"refresh_tokens":{}}', mode)
      const outcome = await token({ issuer: 'https://i', force: true, refreshTokenFile: file })
      expect(outcome).toMatchObject({ code: 2 })
      expect(outcome.err).toContain('can be read by group or others')
    }
  })

  it('K25: reads what it wrote, and refuses what is newer or something else', async () => {
    const file = freshPath()
    const store = new RefreshTokenFile(file)
    await store.save('a', 'ra')
    await store.save('b', 'rb')
    expect(await new RefreshTokenFile(file).load('a')).toBe('ra')
    await store.save('a', undefined)
    expect(await store.load('a')).toBeUndefined()
    expect(await store.load('b')).toBe('rb')
    expect(await store.load('toString')).toBeUndefined()
    await store.save('b', undefined)
    await expect(fs.stat(file)).rejects.toThrow('ENOENT')
    for (const [text, why] of [
      ['{"version":2,"refresh_tokens":{},"more":1}', 'newer version'],
      ['{"version":0,"refresh_tokens":{}}', 'not a file of refresh tokens'],
      ['{"version":1}', 'not a file of refresh tokens'],
      ['{"version":1,"refresh_tokens":{"a":7}}', 'not a file of refresh tokens'],
      ['{"version":1,"refresh_tokens":{},"x":1}', 'not a file of refresh tokens'],
      ['very-secret', 'not a file of refresh tokens'],
      ['null', 'not a file of refresh tokens'],
      ['', 'not a file of refresh tokens'],
    ]) {
      const error: unknown = await new RefreshTokenFile(await fileWith(text!))
        .load('a')
        .catch((thrown: unknown) => thrown)
      expect(String(error)).toContain(why)
      expect(String((error as Error).cause)).not.toContain('very-secret')
    }
  })

  it('N8: logs out by revoking and forgetting', async () => {
    await using issuer = await scriptedIssuer({
      '/device': DEVICE,
      '/token': () => tokenAnswer('t', { refresh_token: 'the-refresh-token' }),
      '/revoke': () => ({ status: 200, headers: { 'content-length': '0' } }),
    })
    const grant = {
      issuer: issuer.issuer,
      clientId: 'c',
      allowInsecureIssuer: true,
      force: true,
      refreshTokenFile: freshPath(),
    }
    await token(grant)
    expect(await logout(grant)).toEqual({ code: 0, out: '', err: '' })
    expect(issuer.at('/revoke')[0]!.form).toEqual({ token: 'the-refresh-token', client_id: 'c' })
    await expect(fs.stat(grant.refreshTokenFile)).rejects.toThrow('ENOENT')
    expect(await logout(grant)).toMatchObject({ code: 0, err: 'not logged in\n' })
  })

  it('N8: forgets even where the server cannot be told, and says so', async () => {
    await using issuer = await scriptedIssuer({
      '/device': DEVICE,
      '/token': () => tokenAnswer('t', { refresh_token: 'the-refresh-token' }),
      '/revoke': () => 'drop',
    })
    const grant = {
      issuer: issuer.issuer,
      clientId: 'c',
      allowInsecureIssuer: true,
      force: true,
      refreshTokenFile: freshPath(),
    }
    await token(grant)
    const outcome = await logout(grant)
    expect(outcome.code).toBe(1)
    expect(outcome.err).not.toContain('the-refresh-token')
    await expect(fs.stat(grant.refreshTokenFile)).rejects.toThrow('ENOENT')
    expect(await logout({})).toMatchObject({ code: 2 })
  })
})

const TOKEN = 'exec-secret-token'

/** Runs a Node script under `exec` against a scripted server; what it writes to `out` comes back. */
async function exec(
  script: Script,
  program: string,
  more: Partial<ExecCommandOptions> = {},
): Promise<{ code: number; err: string; out: string; server: { peers: readonly unknown[] } }> {
  await using server = await scriptedServer(script)
  const file = await fileWith(TOKEN)
  const out = freshPath()
  process.env['PGB_TEST_OUT'] = out
  try {
    const { code, err } = await ran((streams) =>
      runExec(
        {
          source: 'file',
          path: file,
          host: server.host,
          port: server.port,
          tls: false,
          insecure: 'loopback-only',
          user: 'ann',
          command: [process.execPath, '-e', program],
          ...more,
        },
        streams,
      ),
    )
    const text = await fs.readFile(out, 'utf8').catch(() => '')
    return { code, err, out: text, server }
  } finally {
    delete process.env['PGB_TEST_OUT']
  }
}

/** The file that the running program writes to. */
async function outPath(): Promise<string> {
  await expect.poll(() => process.env['PGB_TEST_OUT']).toBeDefined()
  return process.env['PGB_TEST_OUT'] ?? ''
}

const QUERY = `
  const { Client } = require('pg')
  const fs = require('node:fs')
  const say = (value) => fs.appendFileSync(process.env.PGB_TEST_OUT, JSON.stringify(value) + '\\n')
`
const lines = (text: string): unknown[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown)

describe('pgbearer exec', () => {
  it('N6: logs in every connection of a program that knows nothing of OAuth', async () => {
    const { code, out, server } = await exec(
      honest((sent) => sent === TOKEN),
      `${QUERY}
      ;(async () => {
        for (let n = 0; n < 2; n += 1) {
          const client = new Client()
          await client.connect()
          say((await client.query('select 1')).rows)
          await client.end()
        }
      })()`,
    )
    expect(code).toBe(0)
    expect(lines(out)).toEqual([[{ one: 1 }], [{ one: 1 }]])
    expect(server.peers).toHaveLength(2)
  })

  it('N6: passes on a cancel request', async () => {
    const cancels: number[] = []
    await exec(
      async (peer, index) => {
        if (peer.startup.readUInt32BE(4) === CANCEL_REQUEST_CODE) {
          cancels.push(peer.startup.readUInt32BE(8))
          peer.socket.end()
          return
        }
        await honest(() => true)(peer, index)
      },
      `${QUERY}
      ;(async () => {
        const client = new Client()
        await client.connect()
        const socket = require('node:net').connect(process.env.PGHOST + '/.s.PGSQL.' + process.env.PGPORT)
        const packet = Buffer.alloc(16)
        packet.writeUInt32BE(16, 0)
        packet.writeUInt32BE(80877102, 4)
        packet.writeUInt32BE(7, 8)
        packet.writeUInt32BE(9, 12)
        socket.write(packet)
        await new Promise((resolve) => socket.once('close', resolve).resume())
        await client.end()
      })()`,
    )
    expect(cancels).toEqual([7])
  })

  it('N4: sets the documented variables, takes out those that lead elsewhere, and no other', async () => {
    process.env['PGHOSTADDR'] = '192.0.2.1'
    process.env['PGREQUIREAUTH'] = 'oauth'
    process.env['PGAPPNAME'] = 'kept'
    try {
      const { out } = await exec(
        honest(() => true),
        `${QUERY} say(process.env)`,
        { database: 'd' },
      )
      const [child] = lines(out) as [Record<string, string>]
      const changed = Object.keys({ ...process.env, ...child }).filter(
        (name) => process.env[name] !== child[name] && name !== 'PGB_TEST_OUT',
      )
      expect(changed.sort()).toEqual([
        'PGDATABASE',
        'PGGSSENCMODE',
        'PGHOST',
        'PGHOSTADDR',
        'PGPORT',
        'PGREQUIREAUTH',
        'PGSSLMODE',
        'PGUSER',
      ])
      expect(child).toMatchObject({
        PGUSER: 'ann',
        PGDATABASE: 'd',
        PGSSLMODE: 'disable',
        PGGSSENCMODE: 'disable',
        PGAPPNAME: 'kept',
      })
      expect(child['PGHOSTADDR']).toBeUndefined()
    } finally {
      delete process.env['PGHOSTADDR']
      delete process.env['PGREQUIREAUTH']
      delete process.env['PGAPPNAME']
    }
  })

  it('N4: ends with the program’s exit code, or the signal that ended it', async () => {
    expect(
      (
        await exec(
          honest(() => true),
          'process.exit(0)',
        )
      ).code,
    ).toBe(0)
    expect(
      (
        await exec(
          honest(() => true),
          'process.exit(3)',
        )
      ).code,
    ).toBe(3)
    const killed = await exec(
      honest(() => true),
      "process.kill(process.pid, 'SIGTERM')",
    )
    expect(killed.code).toBe(128 + os.constants.signals.SIGTERM)
    const missing = await exec(
      honest(() => true),
      '',
      { command: ['/nonexistent/psql'] },
    )
    expect(missing).toMatchObject({ code: 2 })
    expect(missing.err).toContain('ENOENT')
    expect(
      await exec(
        honest(() => true),
        '',
        { command: [] },
      ),
    ).toMatchObject({ code: 2 })
  })

  it('N5: has a directory that nobody else can enter, and leaves none behind', async () => {
    const { out } = await exec(
      honest(() => true),
      `${QUERY} say({ dir: process.env.PGHOST, mode: fs.statSync(process.env.PGHOST).mode & 0o777 })`,
    )
    const [{ dir, mode }] = lines(out) as [{ dir: string; mode: number }]
    expect(mode).toBe(0o700)
    await expect(fs.stat(dir)).rejects.toThrow('ENOENT')
  })

  it('N4, N5: a signal is passed on to the program, and the directory goes with it', async () => {
    const before = new Set(process.listeners('SIGTERM'))
    const running = exec(
      honest(() => true),
      `${QUERY}
      process.on('SIGTERM', () => process.exit(42))
      say(process.env.PGHOST)
      setInterval(() => {}, 1000)`,
    )
    const out = await outPath()
    await expect.poll(() => fs.readFile(out, 'utf8').catch(() => '')).not.toBe('')
    // What the system would call; a real signal would end the test runner, too.
    for (const listener of process.listeners('SIGTERM').filter((one) => !before.has(one))) {
      ;(listener as (signal: string) => void)('SIGTERM')
    }
    const outcome = await running
    expect(outcome.code).toBe(42)
    const [socketDirectory] = lines(outcome.out) as [string]
    await expect(fs.stat(socketDirectory)).rejects.toThrow('ENOENT')
    expect(process.listeners('SIGTERM').filter((one) => !before.has(one))).toEqual([])
  })

  it('N7: the token is in no argument, no environment and no message', async () => {
    const { out, err } = await exec(
      honest(() => false),
      `${QUERY}
      ;(async () => {
        const seen = ['self', process.ppid].flatMap((pid) => ['cmdline', 'environ'].map((name) => {
          try { return fs.readFileSync('/proc/' + pid + '/' + name, 'latin1') } catch { return '' }
        }))
        const client = new Client()
        client.on('error', () => {})
        const error = await client.connect().catch((thrown) => thrown)
        say({ seen: seen.join(' '), error: error.message, code: error.code })
      })()`,
    )
    const [{ error, code }] = lines(out) as [{ error: string; code: string }]
    expect(code).toBe('28000')
    expect(error).toContain('OAuth bearer authentication failed')
    expect(out + err).not.toContain(TOKEN)
  })

  it('N7: a token that came in a variable is not in the program’s environment', async () => {
    process.env['PGBEARER_TEST_EXEC_TOKEN'] = TOKEN
    onTestFinished(() => {
      delete process.env['PGBEARER_TEST_EXEC_TOKEN']
    })
    const { out, code } = await exec(
      honest(() => true),
      `${QUERY} say(process.env)`,
      { source: 'env', path: undefined, variable: 'PGBEARER_TEST_EXEC_TOKEN' },
    )
    expect(code).toBe(0)
    expect(out).toContain('PGHOST')
    expect(out).not.toContain('PGBEARER_TEST_EXEC_TOKEN')
    expect(out).not.toContain(TOKEN)
  })

  it('tells the program why, where the server was not reached or must not be', async () => {
    const program = `${QUERY}
      ;(async () => {
        const client = new Client()
        client.on('error', () => {})
        const error = await client.connect().catch((thrown) => thrown)
        say([error.code, error.message])
      })()`
    const insecure = await exec(
      honest(() => true),
      program,
      { insecure: undefined },
    )
    expect(lines(insecure.out)).toEqual([
      ['08006', expect.stringContaining('the connection would not be encrypted')],
    ])
    const gone = await exec(
      honest(() => true),
      program,
      { port: 1 },
    )
    expect(lines(gone.out)).toEqual([['08006', expect.stringContaining('could not connect')]])
  })

  it('N10: asks nobody where no person is', async () => {
    const outcome = await exec(
      honest(() => true),
      '',
      { source: 'device', path: undefined, issuer: 'https://i' },
    )
    expect(outcome).toMatchObject({ code: 2 })
    expect(outcome.err).toContain('nobody is at a terminal')
  })
})
