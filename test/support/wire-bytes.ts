/** Messages of the frontend as bytes, also wrong ones; written apart from `src/protocol` on purpose. */
import { Buffer } from 'node:buffer'

export type BytesLike = string | Uint8Array

/** Strings are taken as UTF-8. */
export function bytes(...parts: readonly BytesLike[]): Buffer {
  return Buffer.concat(parts.map((part) => Buffer.from(part as string)))
}

export function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeInt32BE(value | 0)
  return buffer
}

export function int16(value: number): Buffer {
  const buffer = Buffer.alloc(2)
  buffer.writeInt16BE(value)
  return buffer
}

export const PROTOCOL_3_0 = 0x0003_0000
export const PROTOCOL_3_2 = 0x0003_0002

/** A packet without a type byte; the length word counts itself. */
export function packet(...parts: readonly BytesLike[]): Buffer {
  const body = bytes(...parts)
  return bytes(int32(body.length + 4), body)
}

/** A message with a type byte. */
export function message(type: string, ...parts: readonly BytesLike[]): Buffer {
  return bytes(type, packet(...parts))
}

/** Names and values in this order, such as `[['user', 'alice']]`, or an object. */
export function startupMessage(
  parameters: Readonly<Record<string, string>> | readonly (readonly [string, string])[],
  version: number = PROTOCOL_3_0,
): Buffer {
  const pairs = Array.isArray(parameters) ? parameters : Object.entries(parameters)
  const text = pairs.map(([name, value]: readonly [string, string]) => `${name}\0${value}\0`)
  return packet(int32(version), text.join(''), '\0')
}

export const sslRequest: Buffer = packet(int32(80_877_103))
export const gssencRequest: Buffer = packet(int32(80_877_104))

export function cancelRequest(pid: number, key: Uint8Array): Buffer {
  return packet(int32(80_877_102), int32(pid), key)
}

/** `data` undefined: no initial response (the length word is -1). */
export function saslInitialResponse(mechanism: string, data?: BytesLike): Buffer {
  const body = data === undefined ? undefined : bytes(data)
  return message('p', `${mechanism}\0`, int32(body === undefined ? -1 : body.length), body ?? '')
}

export function saslResponse(data: BytesLike): Buffer {
  return message('p', data)
}

export function passwordMessage(password: string): Buffer {
  return message('p', `${password}\0`)
}

/** The client's first OAUTHBEARER message (RFC 7628 §3.1); an empty `auth` asks for discovery. */
export function oauthBearer(auth: string): string {
  return `n,,\u0001auth=${auth}\u0001\u0001`
}

export const kvsep = '\u0001'

export function query(sql: string): Buffer {
  return message('Q', `${sql}\0`)
}

export const terminate: Buffer = message('X')

/** The fields of an ErrorResponse or NoticeResponse by their letters. */
export function errorFields(body: Uint8Array): Readonly<Record<string, string>> {
  const text = Buffer.from(body).toString('utf8')
  const fields = text.split('\0').filter((field) => field !== '')
  return Object.fromEntries(fields.map((field) => [field[0], field.slice(1)]))
}
