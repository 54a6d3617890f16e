/**
 * Messages that are said in one turn of the event loop go over the port as one: waking the other thread
 * costs more than the message.
 *
 * @module
 */
import type { MessagePortLike } from './messages.ts'

export class Outbox<Message> {
  readonly #port: Pick<MessagePortLike, 'postMessage'>
  #waiting: Message[] = []

  constructor(port: Pick<MessagePortLike, 'postMessage'>) {
    this.#port = port
  }

  /** Sends it with what else is said in this turn; the other side gets lists. */
  put(message: Message): void {
    this.#waiting.push(message)
    if (this.#waiting.length === 1) {
      setImmediate(() => this.#flush())
    }
  }

  #flush(): void {
    const messages = this.#waiting
    this.#waiting = []
    this.#port.postMessage(messages)
  }
}
