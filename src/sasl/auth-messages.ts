/**
 * The messages of a client during authentication, cut out of a stream with `auth.c`'s limits.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { ProtocolViolationError, ReportError, SilentProtocolViolationError } from '../errors.ts'
import { MAX_AUTH_TOKEN_LENGTH } from '../protocol/limits.ts'
import { MessageBuffer } from '../protocol/message-buffer.ts'
import { type Conversation, type ConversationStep, NOTHING } from './conversation.ts'

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

  // Several messages may come in one chunk: what earlier ones are answered goes before what ends it.
  const step = async (chunk: Buffer): Promise<ConversationStep<Accepted>> => {
    const sent: Buffer[] = []
    incoming.push(chunk)
    while (true) {
      const next = await guarded(() => nextStep(exchange, incoming))
      sent.push(next?.send ?? NOTHING)
      const send = Buffer.concat(sent)
      if (next === undefined) {
        return { kind: 'continue', send }
      }
      if (next.kind !== 'continue') {
        return next.kind === 'accepted'
          ? { ...next, send, unread: incoming.takeAll() }
          : { ...next, send }
      }
    }
  }

  return {
    start: () => guarded(() => exchange.start()),
    push: step,
    end: async () =>
      incoming.size === 0
        ? undefined
        : { kind: 'refused', send: NOTHING, error: exchange.failed(truncated(incoming.size)) },
  }
}

/** What the next message leads to; undefined while it is not complete. */
async function nextStep<Accepted>(
  exchange: AuthExchange<Accepted>,
  incoming: MessageBuffer,
): Promise<ConversationStep<Accepted> | undefined> {
  const body = nextBody(exchange, incoming)
  return body === undefined ? undefined : receiveOnce(exchange, body)
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

async function guarded<Step>(
  run: () => Promise<Step>,
): Promise<Step | { kind: 'refused'; send: Buffer; error: ReportError }> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof ReportError) {
      return { kind: 'refused', send: NOTHING, error }
    }
    throw error
  }
}
