/**
 * An issuer of nothing but keys: discovery and JWKS over HTTP, and a signer for any token. Starts in
 * a few milliseconds, counts what is asked of it, and can fail, hang and change its keys.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

import {
  createSigningKeys,
  type SigningAlgorithm,
  type SigningKeys,
  type TokenClaims,
  type TokenOptions,
} from '../../src/demo/signing-keys.ts'
import { perFile } from './per-file.ts'

export interface TokenIssuerOptions {
  readonly audience?: string
  /** Default `ES256`, whose keys are made in no time. */
  readonly algorithm?: SigningAlgorithm
  readonly tls?: { readonly cert: string; readonly key: string }
}

export interface TokenIssuer extends AsyncDisposable {
  readonly issuer: string
  readonly audience: string
  /** Method and path of every request so far. */
  readonly requests: readonly string[]
  /**
   * A signed token; `iss`, `aud`, `sub` (`alice`), `scope` (`db`), `iat`, `exp` and `jti` are there unless
   * given, and undefined takes one away.
   */
  mintToken(claims?: TokenClaims, options?: TokenOptions): Promise<string>
  /** New keys from now on; tokens of the old ones stop being good. */
  rotateKeys(): Promise<void>
  /** What is answered from now on: all is well, an error, or nothing at all. */
  behave(how: 'well' | 'fail' | 'hang'): void
}

export async function startTokenIssuer(options: TokenIssuerOptions = {}): Promise<TokenIssuer> {
  const { audience = 'https://db.example.com', algorithm = 'ES256', tls } = options
  const requests: string[] = []
  let keys: SigningKeys = await createSigningKeys([algorithm])
  let behaviour: 'well' | 'fail' | 'hang' = 'well'
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    requests.push(`${request.method} ${request.url}`)
    if (behaviour === 'hang') {
      return
    }
    const documents: Record<string, unknown> = {
      '/.well-known/openid-configuration': { issuer, jwks_uri: `${issuer}/jwks` },
      '/.well-known/oauth-authorization-server': { issuer, jwks_uri: `${issuer}/jwks` },
      '/jwks': keys.publicJwks,
    }
    const document = documents[request.url ?? '']
    response.statusCode = behaviour === 'fail' ? 500 : document === undefined ? 404 : 200
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(response.statusCode === 200 ? document : {}))
  }
  const server = tls === undefined ? createServer(answer) : createHttpsServer(tls, answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const issuer = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
  return {
    issuer,
    audience,
    requests,
    mintToken: (claims = {}, tokenOptions = {}) =>
      keys.sign(
        { iss: issuer, aud: audience, sub: 'alice', scope: 'db', client_id: 'psql', ...claims },
        { algorithm, ...tokenOptions },
      ),
    rotateKeys: async () => {
      keys = await createSigningKeys([algorithm])
    },
    behave: (how) => {
      behaviour = how
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** One for all tests of a file. */
export function withTokenIssuer(options: TokenIssuerOptions = {}): () => TokenIssuer {
  return perFile(() => startTokenIssuer(options))
}
