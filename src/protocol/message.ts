/** One wire message: a type byte, a length word that counts itself, a body. @module */
import { Buffer } from 'node:buffer'

export interface Message {
  /** The type byte as a character, such as `R`. */
  readonly type: string
  readonly body: Buffer
}

/** The bytes of one message. */
export function encodeMessage(type: string, body: Uint8Array = Buffer.alloc(0)): Buffer {
  const message = Buffer.allocUnsafe(5 + body.length)
  message[0] = type.charCodeAt(0)
  message.writeUInt32BE(4 + body.length, 1)
  message.set(body, 5)
  return message
}

/** A 32-bit big-endian integer. */
export function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** A string and the NUL that ends it; `latin1` for byte strings. */
export function cString(value: string, encoding: 'utf8' | 'latin1' = 'utf8'): Buffer {
  return Buffer.from(`${value}\0`, encoding)
}

/**
 * Cuts one message off the front of `bytes`; `undefined` while it is not complete.
 *
 * @param maxLength - the greatest length word that is accepted; a greater one, or one below 4, throws
 *   RangeError before any of the body is waited for.
 */
export function decodeMessage(
  bytes: Buffer,
  maxLength: number,
): { message: Message; size: number } | undefined {
  if (bytes.length < 5) {
    return undefined
  }
  const length = bytes.readUInt32BE(1)
  if (length < 4 || length > maxLength) {
    throw new RangeError('invalid message length')
  }
  const size = 1 + length
  if (bytes.length < size) {
    return undefined
  }
  return {
    message: { type: String.fromCharCode(bytes[0] ?? 0), body: bytes.subarray(5, size) },
    size,
  }
}
