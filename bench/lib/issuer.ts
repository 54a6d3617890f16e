/** An issuer of keys over https that counts what is asked of it, and a stock of tokens it has signed. @module */
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createSigningKeys } from '../../src/demo/signing-keys.ts'
import type { Workspace } from './workspace.ts'

export interface Issuer {
  readonly url: string
  /** All requests so far. */
  readonly requestCount: () => number
  stop(): void
}

export const AUDIENCE = 'https://db.example.com'
export const SCOPE = 'db'
const LIFETIME_S = 7200

/**
 * Starts an issuer with an RS256 key.
 *
 * @param subject - what the tokens say who it is.
 * @param count - how many tokens; each has a `jti` of its own.
 */
export async function startIssuer(
  { certificate }: Workspace,
  subject: string,
  count: number,
): Promise<Issuer & { readonly tokens: readonly string[] }> {
  const keys = await createSigningKeys(['RS256'])
  let requests = 0
  const server = createServer(certificate, (request, response) => {
    requests += 1
    const documents: Record<string, unknown> = {
      '/.well-known/openid-configuration': { issuer: url, jwks_uri: `${url}/jwks` },
      '/jwks': keys.publicJwks,
    }
    const document = documents[request.url ?? '']
    response.writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(document ?? {}))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const claims = {
    iss: url,
    aud: AUDIENCE,
    sub: subject,
    client_id: 'bench',
    scope: `openid ${SCOPE} profile`,
    groups: Array.from({ length: 10 }, (_, group) => `a-group-with-a-name-${group}`),
  }
  const tokens: string[] = []
  for (let i = 0; i < count; i += 1) {
    tokens.push(await keys.sign(claims, { algorithm: 'RS256', expiresIn: LIFETIME_S }))
  }
  return {
    url,
    tokens,
    requestCount: () => requests,
    stop: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
