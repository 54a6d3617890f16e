/**
 * A token that the authorization server gives for the client's (RFC 8693).
 *
 * @module
 */
import { type ByteString, toUtf8 } from '../byte-string.ts'
import { type TokenExchangeOptions, tokenExchangeSource } from '../client/sources/grant-sources.ts'
import { TokenProvider } from '../client/token/provider.ts'
import { hiddenCredential } from '../upstream/credential.ts'
import { HeldToken, type UpstreamTokens } from './upstream-tokens.ts'

/** One exchange for each login: a token of one client never serves another, and none is kept. */
export function exchangedTokens(
  options: Omit<TokenExchangeOptions, 'subjectToken'>,
): UpstreamTokens {
  return {
    usesClientToken: true,
    lease({ role, clientToken }) {
      const held = new HeldToken(clientToken)
      return {
        bearer: hiddenCredential({
          bearerToken: async ({ signal }) => exchange(options, held.token, role, signal),
        }),
        end: async () => held.forget(),
      }
    },
    [Symbol.asyncDispose]: async () => {},
  }
}

async function exchange(
  options: Omit<TokenExchangeOptions, 'subjectToken'>,
  subjectToken: string,
  role: ByteString,
  signal: AbortSignal,
): Promise<string> {
  const provider = new TokenProvider(tokenExchangeSource({ ...options, subjectToken }))
  try {
    const { credential } = await provider.get({ username: toUtf8(role), signal })
    if (credential.accessToken === subjectToken) {
      // Shown to the server behind it would be a forwarded token, which these settings do not allow.
      throw new Error("the authorization server gave the client's own token back")
    }
    return credential.accessToken
  } finally {
    await provider[Symbol.asyncDispose]()
  }
}
