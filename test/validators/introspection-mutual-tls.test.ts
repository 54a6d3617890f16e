/** `tls_client_auth` (RFC 8705 §2.1): the endpoint demands a certificate, and looks at whose it is. */
import type { TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import introspection from '../../validators/introspection.ts'
import { type CertificateOptions, createCertificateAuthority } from '../../src/demo/certificates.ts'
import { withCertificates } from '../support/certificates.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { expectNoPartOf } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'

const certificates = withCertificates()

const TOKEN = 'an-opaque-token-of-the-provider'
const CLIENT = 'pg-db'
const TLS_CLIENT_AUTH = { method: 'tls_client_auth', client_id: CLIENT }
const HTTP = { ca: 'ca.pem', egress: 'any' }
const WITH_CERTIFICATE = { ...HTTP, client_cert: 'client.pem', client_key: 'client.key' }

/** What the endpoint was sent: the parameters, the header, and the name in the client's certificate. */
interface Asked {
  readonly form: Record<string, string>
  readonly authorization: string | undefined
  readonly subject: string
}

interface Endpoint extends AsyncDisposable {
  readonly server: AuthorizationServer
  readonly asked: Asked[]
}

/** An endpoint that nobody reaches without a certificate of our authority, and only `pg-db` may ask. */
async function startEndpoint(path = '/introspect'): Promise<Endpoint> {
  const server = await AuthorizationServer.start({
    clientAuthority: certificates().authority.cert,
  })
  server.metadata = { ...server.metadata, introspection_endpoint: `${server.issuer}/introspect` }
  const asked: Asked[] = []
  server.overrides.set(path, (request, response, body) => {
    const subject = subjectOf(request.socket as TLSSocket)
    const form = Object.fromEntries(new URLSearchParams(body))
    asked.push({ form, subject, authorization: request.headers.authorization })
    if (subject !== CLIENT || form['client_id'] !== subject) {
      response.writeHead(401, { 'content-type': 'application/json' })
      response.end('{"error":"invalid_client"}')
      return
    }
    json(response, { active: true, ...server.claims() })
  })
  return { server, asked, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

function subjectOf(socket: TLSSocket): string {
  return socket.authorized ? String(socket.getPeerCertificate().subject.CN) : ''
}

async function clientFiles(
  options: CertificateOptions = {},
  authority = certificates().authority,
): Promise<Record<string, string>> {
  const { cert, key } = await authority.issue({
    usage: 'client',
    commonName: CLIENT,
    names: ['pg-db.example'],
    ...options,
  })
  return { 'client.pem': cert, 'client.key': key }
}

function run(
  server: AuthorizationServer,
  files: Readonly<Record<string, string>>,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Runner> {
  return startValidator({
    init: introspection,
    settings: {
      audiences: ['https://db.example.com'],
      client_auth: TLS_CLIENT_AUTH,
      http: WITH_CERTIFICATE,
      ...settings,
    },
    issuers: [server.issuer],
    files,
  })
}

/** A fault that says nothing about the token or the key. */
async function expectFault(runner: Runner, code: string): Promise<void> {
  const failure: unknown = await runner.run(TOKEN).catch((error: unknown) => error)
  expect(failure).toMatchObject({ code })
  expectNoPartOf(TOKEN, [String(failure), ...runner.lines])
  expect(`${String(failure)} ${runner.lines.join(' ')}`).not.toContain('PRIVATE KEY')
}

describe('tls_client_auth', () => {
  it('shows the certificate and the client id, and no secret', async () => {
    await using endpoint = await startEndpoint()
    await using runner = await run(endpoint.server, await clientFiles())
    expect(await runner.run(TOKEN)).toMatchObject({ authorized: true, authnId: 'alice' })
    expect(endpoint.asked).toEqual([
      {
        form: { token: TOKEN, token_type_hint: 'access_token', client_id: CLIENT },
        authorization: undefined,
        subject: CLIENT,
      },
    ])
  })

  it('asks at the address for certificates, where the metadata names one', async () => {
    await using endpoint = await startEndpoint('/mtls/introspect')
    const { server } = endpoint
    server.metadata = {
      ...server.metadata,
      mtls_endpoint_aliases: { introspection_endpoint: `${server.issuer}/mtls/introspect` },
    }
    await using runner = await run(server, await clientFiles())
    expect(await runner.run(TOKEN)).toMatchObject({ authorized: true })
    expect(server.count('/mtls/introspect')).toBe(1)
    expect(server.count('/introspect')).toBe(1)
  })

  it('does not follow such an address to a host that is not allowed', async () => {
    await using endpoint = await startEndpoint()
    endpoint.server.metadata = {
      ...endpoint.server.metadata,
      mtls_endpoint_aliases: { introspection_endpoint: 'https://evil.example/introspect' },
    }
    await using runner = await run(endpoint.server, await clientFiles())
    await expectFault(runner, 'provider_bad_response')
    expect(endpoint.asked).toEqual([])
  })

  it('gets nowhere with a certificate of another authority', async () => {
    await using endpoint = await startEndpoint()
    const strange = await createCertificateAuthority('another CA')
    await using runner = await run(endpoint.server, await clientFiles({}, strange))
    await expectFault(runner, 'provider_unavailable')
    expect(endpoint.server.total).toBe(0)
  })

  it('gets nowhere with a certificate that has expired', async () => {
    await using endpoint = await startEndpoint()
    const hour = 3_600_000
    const files = await clientFiles({
      notBefore: new Date(Date.now() - 2 * hour),
      notAfter: new Date(Date.now() - hour),
    })
    await using runner = await run(endpoint.server, files)
    await expectFault(runner, 'provider_unavailable')
    expect(endpoint.server.total).toBe(0)
  })

  it('gets nowhere with a certificate that is for servers', async () => {
    await using endpoint = await startEndpoint()
    await using runner = await run(endpoint.server, await clientFiles({ usage: 'server' }))
    await expectFault(runner, 'provider_unavailable')
    expect(endpoint.server.total).toBe(0)
  })

  it('gets nowhere without any certificate', async () => {
    await using endpoint = await startEndpoint()
    const client_auth = {
      method: 'client_secret_basic',
      client_id: CLIENT,
      client_secret: { file: 'secret' },
    }
    await using runner = await run(endpoint.server, { secret: 'x' }, { client_auth, http: HTTP })
    await expectFault(runner, 'provider_unavailable')
    expect(endpoint.server.total).toBe(0)
  })

  it('is told apart from an outage where the certificate is that of another client', async () => {
    await using endpoint = await startEndpoint()
    await using runner = await run(endpoint.server, await clientFiles({ commonName: 'other' }))
    await expectFault(runner, 'provider_auth_failed')
    expect(endpoint.asked).toMatchObject([{ subject: 'other' }])
  })

  it('shows the token to no server that our authority did not sign', async () => {
    await using endpoint = await startEndpoint()
    const { cert } = await createCertificateAuthority('another CA')
    await using runner = await run(endpoint.server, {
      ...(await clientFiles()),
      'ca.pem': cert,
    })
    await expectFault(runner, 'provider_unavailable')
    expect(endpoint.server.total).toBe(0)
  })
})

describe('the settings of tls_client_auth', () => {
  const start = async (
    files: Readonly<Record<string, string>>,
    settings: Readonly<Record<string, unknown>> = {},
  ): Promise<void> => {
    await using endpoint = await startEndpoint()
    await using _ = await run(endpoint.server, files, settings)
  }

  it('name a certificate', async () => {
    await expect(start({}, { http: HTTP })).rejects.toThrow('needs http.client_cert')
  })

  it('name a certificate and its key', async () => {
    const { 'client.pem': cert } = await clientFiles()
    const { 'client.key': key } = await clientFiles()
    const http = { ...HTTP, client_cert: 'client.pem' }
    await expect(start({ 'client.pem': cert! }, { http })).rejects.toThrow('belong together')
    const files = { 'client.pem': cert!, 'client.key': key! }
    await expect(start(files)).rejects.toThrow('does not belong to the key')
  })

  it('name files that are there and hold what they should', async () => {
    await expect(start({})).rejects.toThrow('http.client_cert: could not read "client.pem"')
    const files = { 'client.pem': 'nothing', 'client.key': 'nothing' }
    await expect(start(files)).rejects.toThrow('http.client_cert')
  })
})
