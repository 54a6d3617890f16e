/**
 * The messages of a client during authentication, cut out of a stream with `auth.c`'s limits.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { ProtocolViolationError, ReportError, SilentProtocolViolationError } from '../errors.ts'
import { MAX_AUTH_TOKEN_LENGTH } from '../protocol/limits.ts'
import { MessageBuffer } from '../protocol/message-buffer.ts'
import { CONTINUE, type Conversation, type ConversationStep } from './conversation.ts'

/** `p`: SASLInitialResponse, SASLResponse and PasswordMessage share it. */
const PASSWORD_MESSAGE = 0x70

export interface AuthExchange<Accepted> {
  /** `SASL` or `password`, for the text about a message of another type. */
  readonly expects: 'SASL' | 'password'
  /** What the client reads where `auth_failed()` would speak for a broken frame. */
  failed(cause: SilentProtocolViolationError): ReportError
  start(): Promise<ConversationStep<Accepted>>
  /** The body of one `p` message; it is overwritten with zeros when this settles. */
  receive(body: Buffer): Promise<ConversationStep<Accepted>>
}

/** Runs an exchange of `p` messages. */
export function authConversation<Accepted>(
  exchange: AuthExchange<Accepted>,
): Conversation<Accepted> {
  const incoming = new MessageBuffer()

  const step = async (chunk: Buffer): Promise<ConversationStep<Accepted>> => {
    const sent: Buffer[] = []
    incoming.push(chunk)
    for (let body = nextBody(exchange, incoming); body; body = nextBody(exchange, incoming)) {
      const next = await receiveOnce(exchange, body)
      if (next.kind === 'accepted') {
        return { ...next, unread: incoming.takeAll() }
      }
      if (next.kind !== 'continue') {
        return next
      }
      sent.push(next.send)
    }
    return sent.length === 0 ? CONTINUE : { kind: 'continue', send: Buffer.concat(sent) }
  }

  return {
    start: () => guarded(() => exchange.start()),
    push: (chunk) => guarded(() => step(chunk)),
    end: async () =>
      incoming.size === 0
        ? undefined
        : { kind: 'refused', error: exchange.failed(truncated(incoming.size)) },
  }
}

/** The body of the next message, once all of it is there. */
function nextBody<Accepted>(
  exchange: AuthExchange<Accepted>,
  incoming: MessageBuffer,
): Buffer | undefined {
  const type = incoming.type
  if (type !== undefined && type !== PASSWORD_MESSAGE) {
    throw new ProtocolViolationError(
      `expected ${exchange.expects} response, got message type ${type}`,
    )
  }
  try {
    return incoming.next(MAX_AUTH_TOKEN_LENGTH)?.body
  } catch (cause) {
    throw exchange.failed(new SilentProtocolViolationError('invalid message length', { cause }))
  }
}

// The server keeps no copy of what a client sent to prove itself (oauth_exchange() does the same).
async function receiveOnce<Accepted>(
  exchange: AuthExchange<Accepted>,
  body: Buffer,
): Promise<ConversationStep<Accepted>> {
  try {
    return await exchange.receive(body)
  } finally {
    body.fill(0)
  }
}

function truncated(size: number): SilentProtocolViolationError {
  return new SilentProtocolViolationError(
    size < 5 ? 'unexpected EOF within message length word' : 'incomplete message from client',
  )
}

async function guarded<Accepted>(
  run: () => Promise<ConversationStep<Accepted>>,
): Promise<ConversationStep<Accepted>> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof ReportError) {
      return { kind: 'refused', error }
    }
    throw error
  }
}
