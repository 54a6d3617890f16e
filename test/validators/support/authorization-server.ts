/**
 * An authorization server that does what a test tells it to, also what no server should: it counts
 * what it is asked, and can be slow, huge, wrong, redirecting or gone.
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TlsOptions } from 'node:tls'
import { testCertificates } from './certificates.ts'
import { type SigningKey, signingKey, signJws } from './signing-key.ts'

export type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void

export interface AuthorizationServerOptions {
  /** Path of the issuer; default none. */
  readonly path?: string
  readonly plainHttp?: boolean
  readonly key?: SigningKey
  /** PEM of an authority: only clients with a certificate of it are talked to (mutual TLS). */
  readonly clientAuthority?: string
}

const METADATA_PATHS = /\/\.well-known\/(openid-configuration|oauth-authorization-server)/

export class AuthorizationServer implements AsyncDisposable {
  readonly issuer: string
  readonly port: number
  /** How often each path was asked for. */
  readonly requests = new Map<string, number>()
  /** TCP connections that were ever made. */
  connections = 0
  /** The key that tokens are signed with; replace it to rotate. */
  key: SigningKey
  /** What the key set holds. */
  jwks: { keys: unknown[] }
  metadata: Record<string, unknown>
  /** Answers instead of the usual for a path that ends so. */
  readonly overrides = new Map<string, Handler>()
  readonly #server: ReturnType<typeof createServer>
  readonly #sockets = new Set<Socket>()

  private constructor(
    server: ReturnType<typeof createServer>,
    options: AuthorizationServerOptions,
  ) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    const scheme = options.plainHttp === true ? 'http' : 'https'
    this.issuer = `${scheme}://127.0.0.1:${this.port}${options.path ?? ''}`
    this.key = options.key ?? signingKey('ES256', 'k1')
    this.jwks = { keys: [this.key.jwk] }
    this.metadata = { issuer: this.issuer, jwks_uri: `${this.issuer}/jwks` }
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response)
    })
    server.on('connection', (socket: Socket) => {
      this.connections += 1
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  static async start(options: AuthorizationServerOptions = {}): Promise<AuthorizationServer> {
    const { cert, key } = await testCertificates()
    const server =
      options.plainHttp === true
        ? (createHttpServer() as unknown as ReturnType<typeof createServer>)
        : createServer({ cert, key, ...demandCertificate(options.clientAuthority) })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new AuthorizationServer(server, options)
  }

  /** Requests whose path ends so. */
  count(suffix: string): number {
    return [...this.requests]
      .filter(([path]) => path.endsWith(suffix))
      .reduce((sum, [, times]) => sum + times, 0)
  }

  get total(): number {
    return this.count('')
  }

  /** The claims of a good token; `undefined` takes one away. */
  claims(changes: Record<string, unknown> = {}): Record<string, unknown> {
    const now = Math.floor(Date.now() / 1000)
    return {
      iss: this.issuer,
      aud: 'https://db.example.com',
      sub: 'alice',
      client_id: 'app',
      jti: `${now}-${Math.random()}`,
      scope: 'db',
      iat: now,
      exp: now + 600,
      ...changes,
    }
  }

  /** A good token, except for what is changed. */
  token(changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}): string {
    const { alg, kid } = this.key
    return signJws({ alg, kid, typ: 'at+jwt', ...header }, this.claims(changes), this.key, alg)
  }

  /** A new key, published at once; the old one stays unless `dropOld`. */
  rotate(kid: string, options: { readonly dropOld?: boolean } = {}): void {
    this.key = signingKey(this.key.alg, kid)
    this.jwks = {
      keys: options.dropOld === true ? [this.key.jwk] : [...this.jwks.keys, this.key.jwk],
    }
  }

  /** Every request fails from now on, until {@link recover}. */
  fail(status = 503): void {
    this.overrides.set('', (_request, response) => response.writeHead(status).end())
  }

  recover(): void {
    this.overrides.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) {
      socket.destroy()
    }
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '').replace(/\?.*$/, '')
    this.requests.set(path, (this.requests.get(path) ?? 0) + 1)
    const override = [...this.overrides].find(([suffix]) => path.endsWith(suffix))
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (override !== undefined) {
        override[1](request, response, Buffer.concat(chunks).toString())
      } else if (METADATA_PATHS.test(path)) {
        json(response, this.metadata)
      } else if (path.endsWith('/jwks')) {
        json(response, this.jwks)
      } else {
        response.writeHead(404).end()
      }
    })
  }
}

function demandCertificate(ca: string | undefined): TlsOptions {
  return ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }
}

export function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}
