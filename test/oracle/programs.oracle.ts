/** Real programs and drivers, and a PostgreSQL that takes tokens without us. */
import { execFile, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  connectOAuth,
  credential,
  pgOAuth,
  postgresOAuth,
  runExec,
  type TokenFunction,
} from '../../src/client/index.ts'
import { startAuthorizationServer } from '../../src/demo/authorization-server.ts'
import { perFile } from '../support/per-file.ts'
import { startProxy, type TestProxy, type TestProxyOptions } from '../support/proxy.ts'
import { withPair } from './pair.ts'
import { oracleBin } from './real-server.ts'
import { accept } from './scripts/rules.ts'

const pair = withPair()
const run = promisify(execFile)
const WHO = 'select current_user, system_user'

const tokenOf =
  (identity: string): TokenFunction =>
  async () =>
    credential(accept(identity), { expiresInMs: 300_000 })

/** Where only tokens are taken. */
const target = (port = pair().real.port) => ({
  host: 'localhost',
  port,
  user: 'alice',
  database: 'tls',
})
const tls = () => ({ ca: pair().certificates.authority.cert })

describe('a PostgreSQL with a validator of its own', () => {
  it('lets connectOAuth in', async () => {
    const { socket, startup } = await connectOAuth({
      ...target(),
      token: tokenOf('alice'),
      tls: tls(),
    })
    socket.destroy()
    expect(startup.authentication).toBe('oauth')
  })

  it('tells connectOAuth that a token is no good', async () => {
    const refused = connectOAuth({ ...target(), token: tokenOf('bob'), tls: tls() })
    await expect(refused).rejects.toMatchObject({
      code: 'ERR_TOKEN_REJECTED',
      status: 'invalid_token',
      scope: 'db',
      discoveryUrl: 'https://issuer.example/.well-known/openid-configuration',
      sqlState: '28000',
    })
  })

  it('lets a pool of pg in, with one token for all of it', async () => {
    let calls = 0
    const token: TokenFunction = async () => {
      calls += 1
      return credential(accept('alice'), { expiresInMs: 300_000 })
    }
    const pool = new pg.Pool({ ...target(), max: 5, ...pgOAuth({ token, tls: tls() }) })
    onTestFinished(() => pool.end())
    const answers = await Promise.all(Array.from({ length: 50 }, () => pool.query(WHO)))
    expect(answers[49]?.rows).toEqual([{ current_user: 'alice', system_user: 'oauth:alice' }])
    expect([pool.totalCount, calls]).toEqual([5, 1])
  })

  it('lets postgres in', async () => {
    const sql = postgres({ ...target(), ...postgresOAuth({ token: tokenOf('alice'), tls: tls() }) })
    onTestFinished(() => sql.end())
    expect(await sql.unsafe(WHO)).toMatchObject([{ system_user: 'oauth:alice' }])
  })

  it('refuses both drivers in its own words', async () => {
    const options = { token: tokenOf('bob'), tls: tls() }
    const client = new pg.Client({ ...target(), ...pgOAuth(options) })
    client.on('error', () => {})
    const refusal = {
      code: '28000',
      message: 'OAuth bearer authentication failed for user "alice"',
    }
    await expect(client.connect()).rejects.toMatchObject(refusal)
    const sql = postgres({ ...target(), ...postgresOAuth(options) })
    await expect(sql.unsafe(WHO)).rejects.toMatchObject(refusal)
    await sql.end()
  })

  it('is shown the client’s own token by a proxy that may forward it', async () => {
    const front = await startFront({
      oauth_validator_libraries: [path.join(import.meta.dirname, 'oracle-validator.js')],
      upstream: { ...upstream(), oauth: { token: 'forward' } },
    })
    const client = new pg.Client({
      ...target(front.port),
      ...pgOAuth({ token: tokenOf('alice'), tls: tls() }),
    })
    await client.connect()
    const { rows } = await client.query(WHO)
    await client.end()
    expect(rows).toEqual([{ current_user: 'alice', system_user: 'oauth:alice' }])
  })
})

const upstream = () => ({
  host: 'localhost',
  port: pair().real.port,
  sslmode: 'verify-full' as const,
  sslrootcert: pair().certificates.files.ca,
})

async function startFront(
  options: Partial<TestProxyOptions> & Pick<TestProxyOptions, 'upstream'>,
): Promise<TestProxy> {
  const { cert, key } = pair().certificates.files
  const front = await startProxy({
    hba: 'hostssl all,replication all 127.0.0.1/32 oauth issuer=https://issuer.example scope=db',
    ssl: true,
    ssl_cert_file: cert,
    ssl_key_file: key,
    ...options,
  })
  onTestFinished(() => front[Symbol.asyncDispose]())
  return front
}

describe('psql', () => {
  const issuer = perFile(() => {
    const { server, authority } = pair().certificates
    return startAuthorizationServer({ tls: { ...server, ca: authority.cert } })
  })

  it('logs in by its device flow, as who has approved and as nobody else', async () => {
    const front = await startFront({
      hba: `hostssl all all 127.0.0.1/32 oauth issuer=${issuer().issuer} scope=db`,
      oauth_validator_libraries: ['jwt'],
      validators: {
        jwt: {
          audiences: [issuer().audience],
          http: { egress: 'any' as const, ca: pair().certificates.files.ca },
        },
      },
      upstream: { host: pair().real.socketDirectory, port: pair().real.port },
    })
    expect(await deviceLogin(front, 'alice')).toMatchObject({ out: 'alice\n', code: 0 })
    const refused = await deviceLogin(front, 'bob')
    expect(refused.code).toBe(2)
    expect(refused.err).toContain('FATAL:  OAuth bearer authentication failed for user "alice"')
  })

  /** psql as alice; the person with the other device is somebody. */
  async function deviceLogin(front: TestProxy, somebody: string) {
    const conninfo = {
      host: 'localhost',
      hostaddr: '127.0.0.1',
      port: front.port,
      user: 'alice',
      dbname: 'plain',
      sslmode: 'verify-full',
      require_auth: 'oauth',
      sslrootcert: pair().certificates.files.ca,
      oauth_issuer: issuer().issuer,
      oauth_client_id: issuer().deviceClient,
    }
    const words = Object.entries(conninfo).map(([name, value]) => `${name}=${value}`)
    const psql = spawn(
      path.join(oracleBin(), 'psql'),
      ['-XAt', words.join(' '), '-c', 'select current_user'],
      {
        env: {
          ...process.env,
          ...(await libraries()),
          // psql 18 takes an authority of one's own only in its debugging mode.
          PGOAUTHDEBUG: 'UNSAFE',
          PGOAUTHCAFILE: pair().certificates.files.ca,
        },
      },
    )
    let [out, err] = ['', '']
    let approved: Promise<void> | undefined
    psql.stdout.on('data', (text: Buffer) => (out += text.toString()))
    psql.stderr.on('data', (text: Buffer) => {
      err += text.toString()
      const [, uri, code] = /Visit (\S+) and enter the code: (\S+)\n/.exec(err) ?? []
      if (uri !== undefined && approved === undefined) {
        approved = issuer().approveDevice(`${uri}?user_code=${code}`, somebody)
      }
    })
    const code = await new Promise((resolve) => psql.on('close', resolve))
    await approved
    return { out, err, code }
  }
})

/** For programs of an installation that is not the system's. */
async function libraries(): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await run(path.join(oracleBin(), 'pg_config'), ['--libdir'])
  return { LD_LIBRARY_PATH: stdout.trim() }
}

describe('pgbearer exec', () => {
  it('runs pg_dump to the same end as without it', async () => {
    const { real, certificates } = pair()
    await real.psql('create table if not exists dumped as select generate_series(1, 100000)', 'tls')
    const { directory } = certificates
    const token = await directory.write('token', accept('postgres'))
    const program = async (file: string): Promise<string[]> => [
      'env',
      `LD_LIBRARY_PATH=${(await libraries())['LD_LIBRARY_PATH']}`,
      path.join(oracleBin(), 'pg_dump'),
      '--restrict-key=x',
      '--dbname=tls',
      `--file=${file}`,
    ]
    const [direct, behind] = ['direct', 'behind'].map((name) =>
      path.join(path.dirname(token), name),
    )
    const [word = '', ...words] = await program(direct!)
    await run(word, [...words, '-h', real.socketDirectory, '-p', `${real.port}`, '-U', 'postgres'])
    const code = await runExec({
      source: 'file',
      path: token,
      ...target(),
      user: 'postgres',
      sslrootcert: certificates.files.ca,
      command: await program(behind!),
    })
    expect(code).toBe(0)
    expect((await readFile(behind!)).equals(await readFile(direct!))).toBe(true)
  })
})
