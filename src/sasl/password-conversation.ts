/**
 * A token in a password message (`token_in_password=1`), for drivers without OAUTHBEARER: the wire of
 * `CheckPasswordAuth()` in `auth.c`, the decision of OAUTHBEARER.
 *
 * @module
 */
import { ProtocolViolationError, type ReportError } from '../errors.ts'
import { authenticationCleartextPassword } from '../protocol/backend-messages.ts'
import { authConversation } from './auth-messages.ts'
import { parseBearerToken } from './bearer-token.ts'
import { type Conversation, NOTHING } from './conversation.ts'
import type { Decider } from './mechanism.ts'

/** Asks for a cleartext password and takes it as the bearer token. */
export function passwordConversation<Accepted>(
  decider: Decider<Accepted, ReportError>,
): Conversation<Accepted> {
  return authConversation<Accepted>({
    expects: 'password',
    failed: (cause) => decider.broken(cause),
    start: async () => ({ kind: 'continue', send: authenticationCleartextPassword() }),
    receive: async (body) => {
      await decider.begin()
      if (body.length === 0 || body.indexOf(0) !== body.length - 1) {
        throw new ProtocolViolationError('invalid password packet size')
      }
      const bearer = parseBearerToken(body.toString('latin1', 0, body.length - 1))
      if (bearer.kind === 'malformed') {
        return { kind: 'refused', send: NOTHING, error: decider.malformed(bearer.detail) }
      }
      const decision = await decider.decide(bearer.token)
      return decision.authorized === true
        ? { kind: 'accepted', send: NOTHING, accepted: decision.accepted, unread: NOTHING }
        : { kind: 'refused', send: NOTHING, error: decision.refused }
    },
  })
}
