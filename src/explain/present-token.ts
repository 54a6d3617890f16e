/**
 * The client's side of a login, as far as it takes to hear the verdict on a token.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import type { AuthorizedSession } from '../authorized-session.ts'
import type { ConversationLogin } from '../login/login.ts'
import { saslInitialResponse, saslResponse } from '../protocol/frontend-messages.ts'
import { encodeMessage } from '../protocol/message.ts'
import type { ConversationStep } from '../sasl/conversation.ts'
import { OAUTHBEARER } from '../sasl/oauthbearer.ts'

/** The lone kvsep that answers a refusal (RFC 7628 §3.2.3). */
const KVSEP = Buffer.from([1])

/** Runs the conversation; it is left at `continue` where it asks for a token that there is not. */
export async function presentToken(
  { line, conversation }: ConversationLogin,
  token: string | undefined,
): Promise<ConversationStep<AuthorizedSession>> {
  let step = await conversation.start()
  if (token === undefined) {
    return step
  }
  const messages = line.oauth?.tokenInPassword === true ? inPassword(token) : bySasl(token)
  for (const message of messages) {
    if (step.kind !== 'continue') {
      break
    }
    step = await conversation.push(message)
    message.fill(0)
  }
  return step
}

function bySasl(token: string): Buffer[] {
  const data = Buffer.from(`n,,\u0001auth=Bearer ${token}\u0001\u0001`)
  return [saslInitialResponse(OAUTHBEARER, data), saslResponse(KVSEP)]
}

function inPassword(token: string): Buffer[] {
  return [encodeMessage('p', Buffer.from(`${token}\0`))]
}
