/** What the server says between AuthenticationOk and the first ReadyForQuery. @module */
import { Buffer } from 'node:buffer'
import type { CancelKey } from '../protocol/frontend-messages.ts'
import { MAX_CANCEL_KEY_LENGTH } from '../protocol/limits.ts'
import { loginError } from './errors.ts'
import { type LoginReader, type RawMessage, unexpectedMessage } from './login-reader.ts'

/** The greeting as it came, and what is in it. */
export interface Greeting {
  /** ParameterStatus, NoticeResponse, BackendKeyData, ReadyForQuery: the client can have them as they are. */
  readonly bytes: Buffer
  readonly cancelKey: CancelKey | undefined
  readonly parameters: ReadonlyMap<string, string>
}

/** BackendKeyData of protocol 3.0, the shortest there is. */
const MIN_CANCEL_KEY_LENGTH = 4

/** Reads up to ReadyForQuery and no further. */
export async function readGreeting(reader: LoginReader): Promise<Greeting> {
  const messages: Buffer[] = []
  const parameters = new Map<string, string>()
  let cancelKey: CancelKey | undefined
  for (;;) {
    const message = await reader.next()
    messages.push(message.bytes)
    switch (message.type) {
      case 'S': {
        const [name = '', value = ''] = message.body.toString('utf8').split('\0')
        parameters.set(name, value)
        break
      }
      case 'K':
        cancelKey = parseBackendKeyData(message)
        break
      case 'N':
        break
      case 'Z':
        if (message.body.length !== 1) {
          throw loginError('protocol_violation', 'invalid length of ReadyForQuery')
        }
        return { bytes: Buffer.concat(messages), cancelKey, parameters }
      default:
        throw unexpectedMessage(message, 'the session to begin')
    }
  }
}

function parseBackendKeyData({ body }: RawMessage): CancelKey {
  const keyLength = body.length - 4
  if (keyLength < MIN_CANCEL_KEY_LENGTH || keyLength > MAX_CANCEL_KEY_LENGTH) {
    throw loginError('protocol_violation', 'invalid length of the cancel key in BackendKeyData')
  }
  // It stays as long as the session: not as a piece of one of the pool's slabs, which it would keep.
  const key = Buffer.allocUnsafeSlow(keyLength)
  body.copy(key, 0, 4)
  return { processId: body.readInt32BE(0), key }
}
