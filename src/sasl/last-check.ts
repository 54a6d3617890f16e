import type { ReportError } from '../errors.ts'
import type { Conversation, ConversationStep } from './conversation.ts'

/** The same conversation, whose yes becomes a no where `refuse` finds a reason. */
export function withLastCheck<Accepted>(
  conversation: Conversation<Accepted>,
  refuse: () => ReportError | undefined,
): Conversation<Accepted> {
  const check = (step: ConversationStep<Accepted>): ConversationStep<Accepted> => {
    const error = step.kind === 'accepted' ? refuse() : undefined
    return error === undefined ? step : { kind: 'refused', send: step.send, error }
  }
  return {
    start: async () => check(await conversation.start()),
    push: async (chunk) => check(await conversation.push(chunk)),
    end: async () => {
      const step = await conversation.end()
      return step && check(step)
    },
  }
}
