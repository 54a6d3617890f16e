/**
 * Everything that is ever written while tokens of every kind come by every way: the program's output at
 * its chattiest, what clients read, what inspection of our objects shows. No part of a token is in it.
 */
import path from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { settingsFromObject } from '../../src/config/load-settings.ts'
import * as library from '../../src/index.ts'
import { loadSnapshot } from '../../src/snapshot.ts'
import { refusal, scriptedIssuer, tokenAnswer } from '../client/support/scripted-issuer.ts'
import { startCli } from '../support/child-process.ts'
import { withLibpq } from '../support/libpq.ts'
import { firstMessage, fixtureValidator, offeredClient } from '../support/oauth-proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import { withWholePath } from '../support/whole-path.ts'
import { message, scriptedServer } from '../upstream/support.ts'
import {
  bytes,
  kvsep,
  oauthBearer,
  passwordMessage,
  saslResponse,
  startupMessage,
} from '../support/wire-bytes.ts'

const whole = withWholePath()
const libpq = withLibpq()

/** How many characters in a row are a part of a token. The header's first letters are every JWT's. */
const PART = 10

const written: string[] = []
const tokens: string[] = []

function collect(...texts: readonly unknown[]): void {
  for (const text of texts) {
    written.push(typeof text === 'string' ? text : inspect(text, INSPECTION))
  }
}

const INSPECTION = { depth: 30, showHidden: true, getters: true, maxStringLength: null } as const

async function token(claims: Record<string, unknown> = {}): Promise<string> {
  const minted = await whole().issuer.mintToken({ sub: 'alice', ...claims })
  tokens.push(minted)
  return minted
}

/** Where parts of tokens stand in what was written, as text or as bytes in hexadecimal. */
function leaks(): string[] {
  const parts = new Set<string>()
  for (const segment of tokens.flatMap((token) => token.split('.'))) {
    for (const part of [segment.slice(24), segment.slice(-24)]) {
      for (let at = 0; at + PART <= part.length; at += 1) {
        parts.add(part.slice(at, at + PART))
      }
    }
  }
  const hex = new Set([...parts].map((part) => Buffer.from(part).toString('hex')))
  const everything = written.join('\n')
  const bytesTogether = everything.replace(/(?<=\b[0-9a-f]{2}) (?=[0-9a-f]{2}\b)/g, '')
  return [...found(everything, parts), ...found(bytesTogether, hex)]
}

/** Which of `parts`, all of one length, stand in the text. */
function found(text: string, parts: ReadonlySet<string>): string[] {
  const length = parts.values().next().value?.length ?? Infinity
  const all: string[] = []
  for (let at = 0; at + length <= text.length; at += 1) {
    const piece = text.slice(at, at + length)
    if (parts.has(piece)) {
      all.push(piece)
    }
  }
  return all
}

/** One login by raw bytes; keeps what the client was sent. */
async function tryLogin(port: number, first: Buffer, user = 'alice'): Promise<void> {
  const client = await offeredClient({ port }, user)
  client.send(first)
  client.send(saslResponse(kvsep))
  client.end()
  collect((await client.readToEnd()).toString('latin1'))
}

describe('no part of a token', () => {
  it('is found in what the search would overlook', () => {
    tokens.push('aaaaaaaaaaaaaaaaaaaaaaaa-the-token-that-is-searched-for')
    written.push(
      Buffer.from('the-token-that')
        .toString('hex')
        .replace(/(..)(?=.)/g, '$1 '),
    )
    expect(leaks()).not.toEqual([])
    tokens.length = 0
    written.length = 0
  })

  it('is in the log of any validator, good or misbehaving, nor in what its clients read', async () => {
    for (const name of [
      'accepts-anything',
      'throws-the-token',
      'logs-its-request',
      'throws-in-validate',
      'throws-in-startup',
      'returns-false',
      'returns-true',
      'keeps-the-token',
      'mutates-its-request',
      'token-as-identity',
      'huge-authn-id',
      'getter-throws',
    ]) {
      const proxy = await startProxy({
        hba: 'host all all 127.0.0.1/32 oauth issuer=https://issuer.example scope=db\nlocal all all oauth issuer=https://issuer.example scope=db token_in_password=1',
        oauth_validator_libraries: [fixtureValidator(name)],
      })
      const secret = await token()
      await tryLogin(proxy.port, firstMessage(oauthBearer(`Bearer ${secret}`)))
      await tryLogin(proxy.port, firstMessage(oauthBearer(`Basic ${secret}`)))
      await tryLogin(proxy.port, firstMessage(oauthBearer(`Bearer ${secret},x`)))
      await tryLogin(proxy.port, firstMessage(`n,,\u0001auth=Bearer ${secret}\u0001x\u0001\u0001`))
      await tryLogin(proxy.port, firstMessage(`n,,\u0001${secret}=x\u0001\u0001`))
      await tryLogin(proxy.port, firstMessage(`p=${secret},,\u0001auth=\u0001\u0001`))
      await tryLogin(proxy.port, bytes('p', Buffer.from([0, 0, 0, 9]), secret))
      const local = await rawClient({ path: path.join(proxy.directory, `.s.PGSQL.${proxy.port}`) })
      local.send(startupMessage({ user: 'alice' }), passwordMessage(secret))
      local.end()
      collect((await local.readToEnd()).toString('latin1'))
      collect(proxy.logText(), proxy.server)
      await proxy[Symbol.asyncDispose]()
    }
    expect(leaks()).toEqual([])
  })

  it('is in the log or the errors of the whole path', async () => {
    const { proxy } = whole()
    for (const claims of [
      {},
      { sub: 'bob' },
      { exp: 1 },
      { aud: 'https://other.example' },
      { iss: 'https://other.example' },
      { scope: '' },
      { sub: 'x'.repeat(5000) },
      { sub: { not: 'a string' } },
    ]) {
      const { connection, error } = await libpq().login({
        conninfo: whole().conninfo('alice'),
        token: await token(claims),
      })
      collect(error)
      await connection?.close()
    }
    const forged = `${(await token()).slice(0, -6)}AAAAAA`
    tokens.push(forged)
    collect((await libpq().login({ conninfo: whole().conninfo('alice'), token: forged })).error)
    collect(proxy.logText(), proxy.server, libpq().stderr())
    expect(leaks()).toEqual([])
  })

  it('is in what inspection shows of a login, a decision or a session', async () => {
    const authenticator = await library.createAuthenticator({
      hba_file: 'pg_hba.conf',
      baseDirectory: whole().proxy.directory,
      oauth_validator_libraries: ['jwt'],
      validators: {
        jwt: {
          audiences: [whole().issuer.audience],
          http: { ca: whole().certificates.files.ca, egress: 'any' },
        },
      },
      ssl: true,
      log: library.createLog({ level: 'debug', write: (line) => collect(line) }),
    })
    onTestFinished(() => authenticator[Symbol.asyncDispose]())
    const login = await authenticator.begin(
      {
        id: '1',
        user: library.fromText('alice'),
        database: library.fromText('postgres'),
        physicalReplication: false,
        clientAddress: '127.0.0.1',
        tls: true,
      },
      { signal: new AbortController().signal },
    )
    if (login.kind !== 'conversation') {
      throw new Error('an oauth rule is decided here')
    }
    const secret = await token()
    await login.conversation.start()
    const pushed = login.conversation.push(firstMessage(oauthBearer(`Bearer ${secret}`)))
    collect(login, login.conversation, authenticator, pushed)
    const step = await pushed
    expect(step.kind).toBe('accepted')
    collect(login, step, library)
    await login.close()
    expect(leaks()).toEqual([])
  })

  it('is in the log, the errors or the objects of a proxy that shows the server behind one', async () => {
    const { issuer, certificates, proxy } = whole()
    const [ofProxy, forClient] = [await token({ exp: 1 }), await token()]
    const authorizationServer = await scriptedIssuer(
      {
        '/token': ({ form }, count) =>
          count > 1
            ? refusal('invalid_grant', `${form['subject_token']} is not good`)
            : tokenAnswer(form['subject_token'] === undefined ? ofProxy : forClient, {
                issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
                expires_in: 300,
              }),
      },
      { tls: certificates.server },
    )
    // Repeats what it was sent, as an error that would go to the client and into the log.
    const echo = await scriptedServer(async (peer) => {
      await peer.readStartup()
      peer.write(message('R', 10, 'OAUTHBEARER\0', '\0'))
      const said = (await peer.readMessage()).toString('latin1').replaceAll('\0', ' ')
      peer.write(message('R', 11, '{ "status": "invalid_token" }'))
      await peer.readMessage()
      peer.write(message('E', `SFATAL\0C28000\0M${said}\0\0`))
    })
    const client = {
      issuer: authorizationServer.issuer,
      client_id: 'pgbearer',
      client_secret: { env: 'PATH' },
      ca: certificates.files.ca,
    }
    const sslrootcert = certificates.files.ca
    for (const oauth of [
      { token: 'forward' },
      { token: 'exchange', source: client },
      { token: 'provider', source: { environment: 'client-credentials', ...client } },
    ] as const) {
      for (const upstream of [
        { host: 'localhost', port: proxy.port, sslmode: 'verify-full', sslrootcert } as const,
        { host: '127.0.0.1', port: echo.port, sslmode: 'disable' } as const,
      ]) {
        const front = await startProxy({
          hba: `hostssl all all 127.0.0.1/32 oauth issuer=${issuer.issuer} scope=db`,
          oauth_validator_libraries: ['jwt'],
          validators: {
            jwt: {
              audiences: [issuer.audience],
              http: { ca: certificates.files.ca, egress: 'any' },
            },
          },
          ssl: true,
          ssl_cert_file: certificates.files.cert,
          ssl_key_file: certificates.files.key,
          upstream: { ...upstream, oauth },
        })
        for (let login = 0; login < 2; login += 1) {
          const { connection, error } = await libpq().login({
            conninfo: whole().conninfo('alice', { port: String(front.port) }),
            token: await token(),
          })
          collect(error)
          await connection?.close()
        }
        collect(front.logText(), front.server)
        await front[Symbol.asyncDispose]()
      }
    }
    await authorizationServer[Symbol.asyncDispose]()
    await echo[Symbol.asyncDispose]()
    collect(proxy.logText(), libpq().stderr())
    expect(leaks()).toEqual([])
    expect(written.join()).toContain('the server repeats the token in an error')
  })

  it('is in what inspection shows of a login that keeps one, nor of what hands it on', async () => {
    const lines: string[] = []
    const log = library.createLog({ level: 'debug', write: (line) => lines.push(line) })
    const snapshot = await loadSnapshot(
      settingsFromObject(
        {
          hba_file: 'pg_hba.conf',
          oauth_validator_libraries: ['jwt'],
          validators: {
            jwt: {
              audiences: [whole().issuer.audience],
              http: { ca: whole().certificates.files.ca, egress: 'any' },
            },
          },
          ssl: true,
          ssl_cert_file: whole().certificates.files.cert,
          ssl_key_file: whole().certificates.files.key,
          upstream: { host: 'localhost', oauth: { token: 'forward' } },
        },
        whole().proxy.directory,
      ),
      log,
    )
    const user = library.fromText('alice')
    const login = await snapshot.authenticator.begin(
      {
        id: '1',
        user,
        database: library.fromText('postgres'),
        physicalReplication: false,
        clientAddress: '127.0.0.1',
        tls: true,
      },
      { signal: new AbortController().signal },
    )
    if (login.kind !== 'conversation') {
      throw new Error('an oauth rule is decided here')
    }
    const secret = await token()
    await login.conversation.start()
    await login.conversation.push(firstMessage(oauthBearer(`Bearer ${secret}`)))
    collect(login, login.conversation, snapshot)
    const lease = snapshot.upstreamTokens?.lease({ role: user, clientToken: login.takeToken?.() })
    collect(login, lease, JSON.stringify(lease))
    const need = { user, signal: new AbortController().signal }
    expect(await lease?.bearer.bearerToken(need)).toBe(secret)
    collect(login, lease, snapshot, lines.join(''))
    await lease?.end()
    await login.close()
    await snapshot.authenticator[Symbol.asyncDispose]()
    expect(leaks()).toEqual([])
  })

  it('is in the output of the program', async () => {
    const { proxy, issuer, certificates, postgres } = whole()
    proxy.writeFile(
      'pgbearer.toml',
      `listen_addresses = ["127.0.0.1"]
port = 0
log_min_messages = "debug"
log_connections = ["all"]
shutdown_timeout = 0
ssl = true
ssl_cert_file = ${JSON.stringify(certificates.files.cert)}
ssl_key_file = ${JSON.stringify(certificates.files.key)}
oauth_validator_libraries = ["jwt"]
[validators.jwt]
audiences = [${JSON.stringify(issuer.audience)}]
http = { ca = ${JSON.stringify(certificates.files.ca)}, egress = "any" }
[upstream]
host = "${postgres.host}"
port = ${postgres.port}
sslmode = "disable"
users_file = "users.toml"
`,
    )
    const program = startCli(['serve', '-c', path.join(proxy.directory, 'pgbearer.toml')])
    const [, port = ''] = await program.waitFor(/port (\d+)"/)
    await program.waitFor(/ready to accept/)
    for (const claims of [{}, { sub: 'bob' }, { exp: 1 }]) {
      const { connection, error } = await libpq().login({
        conninfo: whole().conninfo('alice', { port }),
        token: await token(claims),
      })
      collect(error)
      await connection?.close()
    }
    program.kill('SIGTERM')
    const { stdout, stderr, status } = await program.ended
    expect(status).toBe(0)
    expect(stderr).toContain('connection authenticated: identity=')
    collect(stdout, stderr)
    expect(leaks()).toEqual([])
  })
})
