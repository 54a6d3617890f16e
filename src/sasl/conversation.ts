/**
 * A login as bytes in and bytes out: no sockets, any chunking.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import type { ReportError } from '../errors.ts'

/** What to do after some bytes of the client. */
export type ConversationStep<Accepted> = {
  /** Goes to the client first; may be empty. */
  readonly send: Buffer
} & (
  | { readonly kind: 'continue' }
  /** The client is in; no AuthenticationOk has been sent. `unread` came behind its last message. */
  | { readonly kind: 'accepted'; readonly accepted: Accepted; readonly unread: Buffer }
  /** Tell the client `error` as its audience says, log it, close. */
  | { readonly kind: 'refused'; readonly error: ReportError }
  /** The client only asked for the discovery document: tell it `error`, log nothing, close. */
  | { readonly kind: 'abandoned'; readonly error: ReportError }
)

/** One client's login. */
export interface Conversation<Accepted> {
  /** The first step, before the client has said anything. */
  start(): Promise<ConversationStep<Accepted>>
  /**
   * The next bytes of the client, in any chunks. Call again only when the last call has settled.
   * Never throws for what a client sends: protocol violations are steps, too.
   */
  push(chunk: Buffer): Promise<ConversationStep<Accepted>>
  /** The client has ended its side: `undefined` where PostgreSQL, too, is silent. */
  end(): Promise<ConversationStep<Accepted> | undefined>
}

/** For steps that say nothing. */
export const NOTHING: Buffer = Buffer.alloc(0)
