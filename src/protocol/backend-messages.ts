/**
 * What a server sends before the session is ready, as bytes. Named as the manual names them
 * ("Message Formats" in `protocol.sgml`).
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { cString, encodeMessage, int32 } from './message.ts'

export const authenticationOk = (): Buffer => encodeMessage('R', int32(0))

export const authenticationCleartextPassword = (): Buffer => encodeMessage('R', int32(3))

/** Code 10: the mechanisms, each NUL-terminated, and an empty one. */
export const authenticationSASL = (mechanisms: readonly string[]): Buffer =>
  encodeMessage(
    'R',
    Buffer.concat([int32(10), ...mechanisms.map((name) => cString(name)), Buffer.alloc(1)]),
  )

/** Code 11. */
export const authenticationSASLContinue = (data: Uint8Array): Buffer =>
  encodeMessage('R', Buffer.concat([int32(11), data]))

/**
 * Sent before the first Authentication message: the newest minor version we speak, and the `_pq_.`
 * options we do not know.
 */
export const negotiateProtocolVersion = (version: number, options: readonly string[]): Buffer =>
  encodeMessage(
    'v',
    Buffer.concat([
      int32(version),
      int32(options.length),
      ...options.map((name) => cString(name, 'latin1')),
    ]),
  )

/** The fields of an ErrorResponse or NoticeResponse that we set. */
export interface ErrorFields {
  readonly severity: string
  readonly sqlState: string
  readonly message: string
  readonly detail?: string | undefined
  readonly hint?: string | undefined
}

/** Longest text of one field, in bytes: libpq takes a message over 30000 bytes for a broken one. */
const MAX_FIELD_LENGTH = 8000

/** Fields in PostgreSQL's order: S, V, C, M, D, H. */
export function errorResponse(error: ErrorFields): Buffer {
  const fields: [string, string | undefined][] = [
    ['S', error.severity],
    ['V', error.severity],
    ['C', error.sqlState],
    ['M', error.message],
    ['D', error.detail],
    ['H', error.hint],
  ]
  const parts = fields
    .filter((field): field is [string, string] => field[1] !== undefined)
    .map(([code, value]) => Buffer.concat([Buffer.from(code), boundedCString(value)]))
  return encodeMessage('E', Buffer.concat([...parts, Buffer.alloc(1)]))
}

/** The shape of an error before protocol 3: no length word, one line of text. */
export const errorResponseV2 = (error: ErrorFields): Buffer =>
  Buffer.from(`E${error.severity}:  ${error.message}\n\0`)

// A NUL inside a value would end the field early and let what follows pose as another one.
function boundedCString(value: string): Buffer {
  return cString(
    Buffer.from(value.replaceAll('\0', ''))
      .subarray(0, MAX_FIELD_LENGTH)
      .toString()
      .replace(/\ufffd$/, ''),
  )
}
