/**
 * AuthenticationSASL and the client's answers (`CheckSASLAuth()` in `auth-sasl.c`).
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import { OAuthAuthenticationError, ProtocolViolationError, type ReportError } from '../errors.ts'
import { authenticationSASL, authenticationSASLContinue } from '../protocol/backend-messages.ts'
import { authConversation } from './auth-messages.ts'
import { type Conversation, type ConversationStep, NOTHING } from './conversation.ts'
import type { Decider, SaslMechanism } from './mechanism.ts'

export interface SaslConversationOptions<Accepted> {
  readonly mechanism: SaslMechanism<Accepted, ReportError>
  /** The requested role, for the sentence that ends discovery. */
  readonly user: string
  /** `begin` runs once the client has named the mechanism, before anything else of its message is read. */
  readonly decider: Pick<Decider<Accepted, ReportError>, 'begin' | 'broken'>
}

/** Offers one mechanism and runs its exchange. */
export function saslConversation<Accepted>({
  mechanism,
  user,
  decider,
}: SaslConversationOptions<Accepted>): Conversation<Accepted> {
  let begun = false

  const initialResponse = async (body: Buffer): Promise<Buffer | undefined> => {
    const end = body.indexOf(0)
    if (end < 0) {
      throw new ProtocolViolationError('invalid string in message')
    }
    if (body.toString('latin1', 0, end) !== mechanism.name) {
      throw new ProtocolViolationError('client selected an invalid SASL authentication mechanism')
    }
    begun = true
    await decider.begin()
    return initialResponseData(body.subarray(end + 1))
  }

  return authConversation<Accepted>({
    expects: 'SASL',
    failed: (cause) => decider.broken(cause),
    start: async () => ({ kind: 'continue', send: authenticationSASL([mechanism.name]) }),
    receive: async (body) => {
      const data = begun ? body : await initialResponse(body)
      return toConversationStep(await mechanism.exchange(data), user)
    },
  })
}

/** The length word and the data behind the mechanism's name; -1 stands for no data. */
function initialResponseData(rest: Buffer): Buffer | undefined {
  if (rest.length < 4) {
    throw new ProtocolViolationError('insufficient data left in message')
  }
  const length = rest.readInt32BE(0)
  if (length < -1 || length > rest.length - 4) {
    throw new ProtocolViolationError('insufficient data left in message')
  }
  if (Math.max(length, 0) !== rest.length - 4) {
    throw new ProtocolViolationError('invalid message format')
  }
  return length === -1 ? undefined : rest.subarray(4)
}

function toConversationStep<Accepted>(
  step: Awaited<ReturnType<SaslMechanism<Accepted, ReportError>['exchange']>>,
  user: string,
): ConversationStep<Accepted> {
  switch (step.kind) {
    case 'continue':
      return { kind: 'continue', send: authenticationSASLContinue(step.challenge) }
    case 'success':
      return { kind: 'accepted', send: NOTHING, accepted: step.accepted, unread: NOTHING }
    case 'failure':
      return { kind: 'refused', send: NOTHING, error: step.refused }
    case 'abandoned':
      return { kind: 'abandoned', send: NOTHING, error: new OAuthAuthenticationError(user) }
  }
}
