/**
 * Names as PostgreSQL sees them before a database is chosen: bytes without an encoding.
 *
 * Role and database names, identities and the text of rules files are compared byte for byte
 * (`hba.c` runs before any database encoding is known). A {@link ByteString} is a JavaScript string
 * with one character (U+0000 to U+00FF) per byte, so that `===`, `Map` keys and regular expressions
 * work on bytes and two names that differ never become equal by decoding.
 *
 * @module
 */

declare const brand: unique symbol

/** One character per byte; made by {@link fromBytes} or {@link fromText}, shown by {@link toText}. */
export type ByteString = string & { readonly [brand]: 'bytes' }

/** The bytes of a buffer, from `start` up to `end`, as a {@link ByteString}. Default: all of them. */
export function fromBytes(bytes: Uint8Array, start = 0, end: number = bytes.length): ByteString {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return buffer.toString('latin1', start, end) as ByteString
}

/** Most names are: their text and their bytes are the same string. */
const ASCII = /^[\0-\x7f]*$/

/**
 * The UTF-8 bytes of a text as a {@link ByteString}. A lone surrogate becomes U+FFFD; check with
 * `isWellFormed()` first where that matters.
 */
export function fromText(text: string): ByteString {
  return (ASCII.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1')) as ByteString
}

/** The bytes themselves. */
export function toBytes(value: ByteString): Buffer {
  return Buffer.from(value, 'latin1')
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text, or undefined where the bytes are not UTF-8. */
export function toUtf8(value: ByteString): string | undefined {
  if (ASCII.test(value)) {
    return value
  }
  try {
    return strictUtf8.decode(toBytes(value))
  } catch {
    return undefined
  }
}

/**
 * The text for a message: UTF-8 where the bytes are UTF-8, and otherwise every byte above 0x7F as
 * `\xNN`. For people only: never compare what this returns.
 */
export function toText(value: ByteString): string {
  return (
    toUtf8(value) ??
    value.replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`)
  )
}
