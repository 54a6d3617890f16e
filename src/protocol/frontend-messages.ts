/**
 * What a client sends, as bytes: for the connection to the server behind and for the client side.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import type { ByteString } from '../byte-string.ts'
import {
  CANCEL_REQUEST_CODE,
  GSSENC_REQUEST_CODE,
  MAX_STARTUP_PACKET_LENGTH,
  SSL_REQUEST_CODE,
} from './limits.ts'
import { cString, encodeMessage, int32 } from './message.ts'

export const sslRequest = (): Buffer => Buffer.concat([int32(8), int32(SSL_REQUEST_CODE)])

export const gssencRequest = (): Buffer => Buffer.concat([int32(8), int32(GSSENC_REQUEST_CODE)])

/** A StartupMessage. Throws RangeError where it would be longer than a server accepts. */
export function startupMessage(
  version: number,
  parameters: Iterable<readonly [name: ByteString, value: ByteString]>,
): Buffer {
  let text = ''
  for (const [name, value] of parameters) {
    if (name === '' || name.includes('\0') || value.includes('\0')) {
      throw new RangeError('a startup parameter cannot hold a NUL or lack a name')
    }
    text += `${name}\0${value}\0`
  }
  const length = 8 + text.length + 1
  if (length - 4 > MAX_STARTUP_PACKET_LENGTH) {
    throw new RangeError('startup packet too long')
  }
  const message = Buffer.alloc(length)
  message.writeUInt32BE(length, 0)
  message.writeInt32BE(version, 4)
  message.write(text, 8, 'latin1')
  return message
}

export interface CancelKey {
  readonly processId: number
  /** 4 bytes before protocol 3.2, up to 256 since. */
  readonly key: Buffer
}

export const cancelRequest = ({ processId, key }: CancelKey): Buffer =>
  Buffer.concat([int32(12 + key.length), int32(CANCEL_REQUEST_CODE), int32(processId), key])

/** SASLInitialResponse; without `data` the client asks for an empty challenge first. */
export const saslInitialResponse = (mechanism: string, data?: Uint8Array): Buffer =>
  encodeMessage(
    'p',
    Buffer.concat([cString(mechanism), int32(data?.length ?? -1), data ?? Buffer.alloc(0)]),
  )

export const saslResponse = (data: Uint8Array): Buffer => encodeMessage('p', data)

export const terminate = (): Buffer => encodeMessage('X')
