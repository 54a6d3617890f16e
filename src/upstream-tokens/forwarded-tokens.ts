/**
 * The client's own token, shown to the server behind as it is.
 *
 * @module
 */
import { hiddenCredential } from '../upstream/credential.ts'
import { HeldToken, type UpstreamTokens } from './upstream-tokens.ts'

/** Only for `token = "forward"`. Whoever runs the server behind can be the client wherever its token is good. */
export function forwardedTokens(): UpstreamTokens {
  return {
    usesClientToken: true,
    lease({ clientToken }) {
      const held = new HeldToken(clientToken)
      return {
        bearer: hiddenCredential({ bearerToken: async () => held.token }),
        end: async () => held.forget(),
      }
    },
    [Symbol.asyncDispose]: async () => {},
  }
}
