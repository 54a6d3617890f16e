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
}

/** `S` */
const PARAMETER_STATUS = 0x53

/** BackendKeyData of protocol 3.0, the shortest there is. */
const MIN_CANCEL_KEY_LENGTH = 4

/** Reads up to ReadyForQuery and no further. */
export async function readGreeting(reader: LoginReader): Promise<Greeting> {
  const messages: Buffer[] = []
  let cancelKey: CancelKey | undefined
  for (;;) {
    const message = reader.nextBuffered() ?? (await reader.next())
    messages.push(message.bytes)
    switch (message.type) {
      case 'K':
        cancelKey = parseBackendKeyData(message)
        break
      case 'S':
      case 'N':
        break
      case 'Z':
        if (message.body.length !== 1) {
          throw loginError('protocol_violation', 'invalid length of ReadyForQuery')
        }
        return { bytes: Buffer.concat(messages), cancelKey }
      default:
        throw unexpectedMessage(message, 'the session to begin')
    }
  }
}

/** What a greeting reports in ParameterStatus messages, such as `server_version`. */
export function reportedParameters(greeting: Buffer): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>()
  for (let at = 0; at + 5 <= greeting.length; at += 1 + greeting.readUInt32BE(at + 1)) {
    if (greeting[at] === PARAMETER_STATUS) {
      const body = greeting.toString('utf8', at + 5, at + 1 + greeting.readUInt32BE(at + 1))
      const [name = '', value = ''] = body.split('\0')
      parameters.set(name, value)
    }
  }
  return parameters
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
