import { inspect } from 'node:util'
import { Client } from 'pg'
import { describe, expect, it } from 'vitest'
import {
  SOURCE_ENVIRONMENTS,
  TokenCallback,
  TokenConfigError,
  TokenProvider,
  connectOAuth,
  credential,
  parseOAuthConnectionString,
  pgOAuth,
  pgOAuthClient,
  postgresOAuth,
  sourceFromConfig,
  tokenCallback,
} from '../../../src/client/index.ts'
import { honest, scriptedServer } from '../support/scripted-server.ts'

const message = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(TokenConfigError)
    return (error as Error).message
  }
  return expect.unreachable('it was taken')
}

const GRANT = { issuer: 'https://i.example', clientId: 'c' }

describe('a source as settings', () => {
  it.each([
    ['C1', { environment: 'test' }],
    ['C2', { environment: 'test', password: undefined, username: undefined }],
    ['C8', { environment: 'azure', resource: 'mongodb://test-cluster' }],
    ['C9', { environment: 'azure', resource: 'r', clientId: 'c' }],
    ['C9', { environment: 'azure', resource: 'r', username: 'c' }],
    ['C16', { environment: 'gcp', resource: 'r' }],
    ['C19', { environment: 'k8s' }],
    ['C19', { environment: 'k8s', path: '/run/secrets/db/token' }],
    ['', { environment: 'github-actions', audience: 'a' }],
    ['', { environment: 'gitlab', variable: 'DB_TOKEN' }],
    ['', { environment: 'env', variable: 'DB_TOKEN' }],
    ['', { environment: 'file', path: '/run/token' }],
    ['', { environment: 'exec', command: ['get-token', '--for', 'db'] }],
    ['', { environment: 'client-credentials', clientSecret: 's', ...GRANT }],
    ['', { environment: 'device', ...GRANT, scope: 'openid' }],
    ['', { environment: 'code', ...GRANT, redirectUri: 'http://127.0.0.1:0/callback' }],
  ])('%s: %o is a source', (_id, config) => {
    expect(sourceFromConfig(config)).toBeInstanceOf(TokenCallback)
  })

  it.each([
    ['C3', { environment: 'test', password: 'p' }, 'exclude each other'],
    ['C14', { environment: 'azure', resource: 'r', username: 'u', password: 'p' }, 'exclude'],
    ['C17', { environment: 'gcp', resource: 'r', password: 'p' }, 'exclude'],
    ['C20', { environment: 'k8s', password: 'p' }, 'exclude'],
    ['C4', { environment: 'test', username: 'u' }, 'takes no user name'],
    ['C4', { environment: 'gcp', resource: 'r', username: 'u' }, 'takes no user name'],
    ['C4', { environment: 'k8s', username: 'u' }, 'takes no user name'],
    ['C5', { environment: 'heroku' }, 'unknown token source "heroku"'],
    ['C5', { environment: 'toString' }, 'unknown token source'],
    ['C5', { environment: '' }, 'unknown token source'],
    ['C7', { environment: 'test', color: 'red' }, 'has no property color'],
    ['C7', { environment: 'device', ...GRANT, callback: 'x' }, 'has no property callback'],
    ['C15', { environment: 'azure' }, 'needs a valid resource'],
    ['C15', { environment: 'azure', resource: '' }, 'needs a valid resource'],
    ['C18', { environment: 'gcp' }, 'needs a valid resource'],
    ['C20', { environment: 'test', resource: 'r' }, 'has no property resource'],
    ['C20', { environment: 'k8s', resource: 'r' }, 'has no property resource'],
    ['', { environment: 'exec', command: [] }, 'needs a valid command'],
    ['', { environment: 'exec', command: 'sh -c x' }, 'needs a valid command'],
    ['', { environment: 'client-credentials', ...GRANT }, 'need a client secret'],
  ])('%s: %o is refused', (_id, config, why) => {
    expect(message(() => sourceFromConfig(config))).toContain(why)
  })

  it('C3: an error repeats no value', () => {
    const secret = { environment: 'azure', resource: 7, clientId: 'very-secret' }
    expect(message(() => sourceFromConfig(secret))).not.toContain('very-secret')
    const unknown = { environment: 'device', client_secret: 'very-secret' }
    expect(message(() => sourceFromConfig(unknown))).not.toContain('very-secret')
  })

  it('knows its names', () => {
    for (const environment of SOURCE_ENVIRONMENTS) {
      const text = (() => {
        try {
          sourceFromConfig({ environment })
          return ''
        } catch (error) {
          return (error as Error).message
        }
      })()
      expect(text).not.toContain('unknown token source')
    }
  })

  it('C6: OAuth without any source is an error', async () => {
    await expect(connectOAuth({ host: '127.0.0.1', user: 'u' } as never)).rejects.toBeInstanceOf(
      TokenConfigError,
    )
  })

  it('C21, B15: a callback and a built-in source exclude each other, wherever both are given', () => {
    let calls = 0
    const token = () => {
      calls += 1
      return credential('t')
    }
    const azure = { environment: 'azure', resource: 'r' }
    expect(message(() => new TokenProvider({ fn: token, ...azure } as never))).toContain(
      'no token callback is set',
    )
    for (const both of [
      { callback: token },
      { fn: token },
      { token },
      { command: ['x'] },
      { clientSecret: 's' },
    ]) {
      expect(message(() => sourceFromConfig({ ...azure, ...both }))).toContain('has no property')
    }
    const { source } = parseOAuthConnectionString('host=h oauth_environment=azure oauth_resource=r')
    for (const second of [azure, { environment: 'test' }, { source }, { callback: token }]) {
      for (const make of [pgOAuth, postgresOAuth]) {
        const options = { token, ...second } as Parameters<typeof pgOAuth>[0]
        expect(message(() => make(options))).toContain('exclude each other')
      }
      const options = { token, ...second } as Parameters<typeof pgOAuthClient>[1]
      expect(message(() => pgOAuthClient(Client, options))).toContain('exclude each other')
    }
    expect(calls).toBe(0)
  })

  it('C21: a connection is not opened with both', async () => {
    await using server = await scriptedServer(honest(() => true))
    const { host, port } = server
    const both = { token: () => credential('t'), environment: 'test' }
    const options = {
      host,
      port,
      user: 'u',
      tls: false,
      insecure: 'loopback-only',
      ...both,
    } as const
    await expect(connectOAuth(options)).rejects.toThrow('exclude each other')
    expect(server.accepted).toBe(0)
  })

  it('C7, C22: what belongs to the provider is not ignored elsewhere', () => {
    const token = () => credential('t')
    for (const name of ['allowedHosts', 'timeoutMs', 'graceMs', 'backgroundRefresh']) {
      const misplaced = { token, [name]: [] }
      expect(message(() => pgOAuth(misplaced))).toBe(`${name} is an option of provider`)
    }
    expect(pgOAuth({ token, allowedHosts: undefined } as never).ssl).toBe(false)
  })

  it('C22: allowed hosts are for people', () => {
    const source = sourceFromConfig({ environment: 'azure', resource: 'r' })
    expect(() => new TokenProvider(source, { allowedHosts: ['a'] })).toThrow(TokenConfigError)
    const person = tokenCallback(() => credential('t'), { interactive: true })
    expect(new TokenProvider(person, { allowedHosts: ['a'] }).allowedHosts).toEqual(['a'])
  })
})

describe('a connection string', () => {
  it.each([
    'postgresql://ann@db.example:6432/app?oauth_issuer=https://i.example&oauth_client_id=c&oauth_scope=a%20b&oauth_client_secret=s%3D1&oauth_ca_file=/ca.pem',
    "host=db.example port=6432 user=ann dbname=app oauth_issuer=https://i.example oauth_client_id=c oauth_scope='a b' oauth_client_secret=s=1 oauth_ca_file=/ca.pem",
  ])('C26: %s says what libpq understands', (text) => {
    const parsed = parseOAuthConnectionString(text)
    expect(parsed).toMatchObject({
      host: 'db.example',
      port: 6432,
      user: 'ann',
      database: 'app',
      issuer: 'https://i.example',
      clientId: 'c',
      scope: 'a b',
      caFile: '/ca.pem',
    })
    expect(parsed.clientSecret).toBe('s=1')
  })

  it('C26, O2: does not show the secret', () => {
    const parsed = parseOAuthConnectionString('host=h oauth_client_secret=very-secret')
    expect(JSON.stringify(parsed) + inspect(parsed)).not.toContain('very-secret')
    for (const text of ['host=h oauth_client_secret=very-secret oauth_x=1', "host='very-secret"]) {
      expect(message(() => parseOAuthConnectionString(text))).not.toContain('very-secret')
    }
  })

  it.each([
    ['C10', 'mongodb%3A%2F%2Ftest-cluster', 'mongodb://test-cluster'],
    ['C11', 'mongodb://test-cluster:1', 'mongodb://test-cluster:1'],
    ['C12', 'abcd%25ef%3Ag%26hi', 'abcd%ef:g&hi'],
    ['C13', 'a$b', 'a$b'],
    ['', 'a+b', 'a+b'],
  ])('%s: the resource %s is %s', (_id, text, resource) => {
    const uri = `postgresql://h/?oauth_environment=azure&oauth_resource=${text}`
    expect(parseOAuthConnectionString(uri).source).toEqual({ environment: 'azure', resource })
  })

  it('C5: names a source that is then checked', () => {
    const { source } = parseOAuthConnectionString('host=h oauth_environment=heroku')
    expect(message(() => sourceFromConfig(source!))).toContain('unknown token source')
    const azure = parseOAuthConnectionString(
      'host=h oauth_environment=azure oauth_resource=r oauth_client_id=c',
    )
    expect(azure.source).toEqual({ environment: 'azure', resource: 'r', clientId: 'c' })
  })

  it('C3: has a password or a token source', () => {
    for (const text of [
      'postgresql://u:p@h/?oauth_environment=test',
      'host=h password=p oauth_environment=test',
    ]) {
      expect(message(() => parseOAuthConnectionString(text))).toContain('exclude each other')
    }
  })

  it.each(['oauth_foo=1', 'oauth_issuers=1'])('C7: %s is no option', (text) => {
    expect(message(() => parseOAuthConnectionString(`host=h ${text}`))).toContain(
      'invalid connection option',
    )
  })

  it.each([
    'allowedhosts',
    'allowed_hosts',
    'oauth_allowed_hosts',
    'callback',
    'oauth_callback',
    'allowinsecuretransport',
    'allow_insecure_transport',
    'oauth_allow_insecure_issuer',
    'insecure',
    'oauth_command',
  ])('C23, E7: %s cannot come with the string', (key) => {
    expect(message(() => parseOAuthConnectionString(`host=h ${key}=x`))).toContain(
      'cannot be set in a connection string',
    )
    const mixed = key.replace(/h/, 'H')
    const uri = `postgresql://h/?${mixed}=x`
    expect(message(() => parseOAuthConnectionString(uri))).toMatch(
      /cannot be set|invalid connection option/,
    )
  })

  it.each([
    ['host=h port=0', 'invalid port'],
    ['host=h port=65536', 'invalid port'],
    ['host=h port=5432x', 'invalid port'],
    ['host=h channel_binding=maybe', 'invalid channel_binding'],
    ['host=h sslnegotiation=maybe', 'invalid sslnegotiation'],
    ["host='h", 'neither a URI nor'],
    ['nonsense', 'neither a URI nor'],
    ['postgresql://h/?oauth_scope=%zz', 'invalid percent-encoding'],
    ['postgresql://h:port/', 'not a valid URI'],
  ])('%s is refused', (text, why) => {
    expect(message(() => parseOAuthConnectionString(text))).toContain(why)
  })

  it('leaves alone what is not about OAuth', () => {
    expect(parseOAuthConnectionString("host=/run application_name='it\\'s' x=1")).toMatchObject({
      host: '/run',
      source: undefined,
    })
    expect(parseOAuthConnectionString('postgresql://%2Frun%2Fpg/')).toMatchObject({
      host: '/run/pg',
    })
    expect(parseOAuthConnectionString('postgresql://[::1]:80/')).toMatchObject({
      host: '::1',
      port: 80,
    })
  })
})
