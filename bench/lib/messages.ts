/** Frontend messages as bytes, and backend messages out of them: no more than a benchmark needs. @module */
import { Buffer } from 'node:buffer'

const PROTOCOL_3_0 = 0x0003_0000
const SSL_REQUEST_CODE = 80_877_103

/** A type byte, a length word that counts itself, and the body. */
export function message(type: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(body.length + 4), body])
}

export function int32(value: number): Buffer {
  const word = Buffer.alloc(4)
  word.writeInt32BE(value)
  return word
}

export const sslRequest: Buffer = Buffer.concat([int32(8), int32(SSL_REQUEST_CODE)])
export const terminate: Buffer = message('X', Buffer.alloc(0))

export function startupMessage(user: string, database: string): Buffer {
  const text = `user\0${user}\0database\0${database}\0application_name\0bench\0\0`
  const body = Buffer.concat([int32(PROTOCOL_3_0), Buffer.from(text)])
  return Buffer.concat([int32(body.length + 4), body])
}

export function query(sql: string): Buffer {
  return message('Q', Buffer.from(`${sql}\0`))
}

export function saslInitialResponse(mechanism: string, data: string): Buffer {
  return message(
    'p',
    Buffer.concat([Buffer.from(`${mechanism}\0`), int32(data.length), Buffer.from(data)]),
  )
}

export function saslResponse(data: string): Buffer {
  return message('p', Buffer.from(data))
}

export interface BackendMessage {
  readonly type: string
  readonly body: Buffer
}

/** Messages out of chunks; what is not complete stays for the next chunk. */
export class MessageSplitter {
  #rest: Buffer = Buffer.alloc(0)

  push(chunk: Buffer): BackendMessage[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const found: BackendMessage[] = []
    let at = 0
    while (this.#rest.length - at >= 5) {
      const end = at + 1 + this.#rest.readInt32BE(at + 1)
      if (this.#rest.length < end) {
        break
      }
      found.push({
        type: String.fromCharCode(this.#rest[at] ?? 0),
        body: this.#rest.subarray(at + 5, end),
      })
      at = end
    }
    this.#rest = this.#rest.subarray(at)
    return found
  }
}
