/**
 * Methods that ask the client nothing more: `trust`, and `cert`, whose question was asked in the TLS
 * handshake.
 *
 * @module
 */
import { type AuthorizedSession, authorizeSession } from '../authorized-session.ts'
import { InternalError } from '../errors.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import { type Conversation, NOTHING } from '../sasl/conversation.ts'
import type { LoginRequest } from './login-request.ts'

/** A conversation that is over before it begins. */
export function immediateConversation(
  line: HbaLine,
  { user, database, clientCertificate }: LoginRequest,
): Conversation<AuthorizedSession> {
  const authnId = line.method === 'cert' ? clientCertificate?.distinguishedName : undefined
  return {
    start: async () => ({
      kind: 'accepted',
      send: NOTHING,
      accepted: authorizeSession({ role: user, database, line, authnId }),
      unread: NOTHING,
    }),
    push: async () => {
      throw new InternalError('this login has no messages')
    },
    end: async () => undefined,
  }
}
