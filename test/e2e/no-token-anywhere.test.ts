/**
 * Everything that is ever written while tokens of every kind come by every way: the program's output at
 * its chattiest, what clients read, what inspection of our objects shows. No part of a token is in it.
 */
import path from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as library from '../../src/index.ts'
import { startCli } from '../support/child-process.ts'
import { withLibpq } from '../support/libpq.ts'
import { firstMessage, fixtureValidator, offeredClient } from '../support/oauth-proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import { withWholePath } from '../support/whole-path.ts'
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
  const everything = written.join('\n')
  const found: string[] = []
  for (const whole of tokens) {
    for (const part of whole
      .split('.')
      .flatMap((segment) => [segment.slice(24), segment.slice(-24)])) {
      for (let at = 0; at + PART <= part.length; at += 1) {
        const piece = part.slice(at, at + PART)
        const hex = Buffer.from(piece).toString('hex')
        const spaced = hex.replace(/(..)(?=.)/g, '$1 ')
        const shown = [piece, hex, spaced].find((form) => everything.includes(form))
        if (shown !== undefined) {
          found.push(shown)
        }
      }
    }
  }
  return found
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
