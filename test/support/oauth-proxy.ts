/** A proxy in front of nothing: for everything that is decided before a server is needed. */
import path from 'node:path'
import { type RawClient, rawClient } from './raw-client.ts'
import { perFile } from './per-file.ts'
import { startProxy, type TestProxy, type TestProxyOptions } from './proxy.ts'
import { saslInitialResponse, startupMessage } from './wire-bytes.ts'

export const fixtureValidator = (name: string): string =>
  path.resolve(`test/fixtures/validators/${name}.js`)

export const ISSUER = 'https://issuer.example'

/** What every refusal and every discovery request of {@link OAUTH_RULE} is answered. */
export const DISCOVERY_JSON =
  '{ "status": "invalid_token", "openid-configuration": "https://issuer.example/.well-known/openid-configuration", "scope": "db" }'

/** One rule for everybody; the validator is good for a token that spells the role. */
export const OAUTH_RULE = `host all all 127.0.0.1/32 oauth issuer=${ISSUER} scope=db`

export function withOAuthProxy(options: Partial<TestProxyOptions> = {}): () => TestProxy {
  return perFile(() =>
    startProxy({
      hba: OAUTH_RULE,
      oauth_validator_libraries: [fixtureValidator('accepts-anything')],
      ...options,
    }),
  )
}

/** A client that has been asked for OAUTHBEARER. */
export async function offeredClient(
  { port }: { readonly port: number },
  user = 'alice',
): Promise<RawClient> {
  const client = await rawClient({ port })
  client.send(startupMessage({ user, database: 'db' }))
  const offer = await client.readMessage()
  if (offer.type !== 'R' || offer.body.readInt32BE(0) !== 10) {
    throw new Error(
      `expected AuthenticationSASL, got ${JSON.stringify(offer.raw.toString('latin1'))}`,
    )
  }
  return client
}

/** The first message with this payload. */
export const firstMessage = (data?: string | Uint8Array): Buffer =>
  saslInitialResponse('OAUTHBEARER', data)
