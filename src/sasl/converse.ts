/**
 * A conversation over whatever carries bytes.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import type { Conversation, ConversationStep } from './conversation.ts'

/** The client, as a conversation needs it. */
export interface ConversationPeer {
  /** The next bytes; undefined once the client has ended its side. */
  read(): Promise<Buffer | undefined>
  write(bytes: Buffer): void
  /** Waits for a decision; may give up by throwing, for a client that has left. Default: just waits. */
  during?<T>(work: () => Promise<T>): Promise<T>
}

/** How a conversation ended; `gone`: the client left, and nothing needs to be said. */
export type ConversationEnd<Accepted> =
  | Exclude<ConversationStep<Accepted>, { kind: 'continue' }>
  | { readonly kind: 'gone' }

/** Runs a conversation to its end. An `error` has not been sent. */
export async function converse<Accepted>(
  conversation: Conversation<Accepted>,
  peer: ConversationPeer,
): Promise<ConversationEnd<Accepted>> {
  let step = await conversation.start()
  peer.write(step.send)
  while (step.kind === 'continue') {
    const chunk = await peer.read()
    const push = (): Promise<ConversationStep<Accepted> | undefined> =>
      chunk === undefined ? conversation.end() : conversation.push(chunk)
    const next: ConversationStep<Accepted> | undefined =
      peer.during === undefined || chunk === undefined ? await push() : await peer.during(push)
    if (next === undefined) {
      return { kind: 'gone' }
    }
    step = next
    peer.write(step.send)
  }
  return step
}
