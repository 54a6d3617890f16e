/** One SCRAM-SHA-256 exchange as text in, text out (RFC 5802, RFC 7677). @module */
import { Buffer } from 'node:buffer'
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { loginError } from './errors.ts'
import { SCRAM_KEY_LENGTH, type ScramKeys } from './scram-keys.ts'

/**
 * How the exchange is tied to TLS (RFC 5802 §6): `p` with the certificate's hash; `y` when we could have
 * but the server did not offer it, so that a server that did offer it notices; `n` when we cannot.
 */
export type ChannelBinding =
  | { readonly flag: 'n' | 'y' }
  | { readonly flag: 'p'; readonly endPoint: Buffer }

/** What the server asks for before we answer. */
export interface ServerFirst {
  readonly nonce: string
  readonly salt: Buffer
  readonly iterations: number
}

/** About half a second of one thread; PostgreSQL's default is 4096. */
const MAX_ITERATIONS = 2_000_000

/**
 * RFC 7677 §4. Where somebody can listen, or pose as the server, a proof made with fewer would be easy
 * to try passwords on.
 */
export const MIN_ITERATIONS = 4096

/** PostgreSQL's salts have 16 bytes. */
const MAX_SALT_LENGTH = 1024

export class ScramClient {
  readonly #gs2Header: string
  readonly #bindingData: Buffer
  readonly #clientFirstBare: string
  readonly #nonce: string
  #serverFirst = ''
  #expectedSignature: Buffer | undefined

  /**
   * @param nonce - printable ASCII without a comma; for test vectors only.
   * @param user - for test vectors only: PostgreSQL takes the name in the startup packet.
   */
  constructor(
    binding: ChannelBinding,
    nonce: string = randomBytes(18).toString('base64'),
    user = '',
  ) {
    this.#gs2Header = binding.flag === 'p' ? 'p=tls-server-end-point,,' : `${binding.flag},,`
    this.#bindingData = binding.flag === 'p' ? binding.endPoint : Buffer.alloc(0)
    this.#nonce = nonce
    this.#clientFirstBare = `n=${user},r=${nonce}`
  }

  clientFirst(): string {
    return `${this.#gs2Header}${this.#clientFirstBare}`
  }

  /**
   * Reads server-first-message.
   *
   * @param minIterations - a server that asks for fewer is refused.
   * @throws {UpstreamError} where the nonce is not ours extended, or a number is out of bounds.
   */
  readServerFirst(message: string, minIterations: number): ServerFirst {
    const match = /^r=([\x21-\x2b\x2d-\x7e]+),s=([^,]+),i=([1-9][0-9]{0,9})$/.exec(message)
    const [, nonce = '', salt64 = '', iterationsText = ''] = match ?? []
    const salt = decodeBase64(salt64)
    if (match === null || salt === undefined || salt.length > MAX_SALT_LENGTH) {
      throw malformed('malformed SCRAM message')
    }
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) {
      throw malformed('invalid SCRAM response (nonce mismatch)')
    }
    const iterations = Number(iterationsText)
    if (iterations > MAX_ITERATIONS || iterations < minIterations) {
      throw malformed(`SCRAM iteration count ${iterations} is out of bounds`)
    }
    this.#serverFirst = message
    return { nonce, salt, iterations }
  }

  clientFinal({ nonce }: ServerFirst, { clientKey, serverKey }: ScramKeys): string {
    const binding = Buffer.concat([Buffer.from(this.#gs2Header), this.#bindingData])
    const withoutProof = `c=${binding.toString('base64')},r=${nonce}`
    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},${withoutProof}`
    const storedKey = createHash('sha256').update(clientKey).digest()
    const signature = createHmac('sha256', storedKey).update(authMessage).digest()
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)))
    this.#expectedSignature = createHmac('sha256', serverKey).update(authMessage).digest()
    return `${withoutProof},p=${proof.toString('base64')}`
  }

  /**
   * Reads server-final-message.
   *
   * @throws {UpstreamError} unless the server has shown that it knows the role's keys.
   */
  readServerFinal(message: string): void {
    const [, signature64 = ''] = /^v=([^,]+)$/.exec(message) ?? []
    const signature = decodeBase64(signature64)
    const expected = this.#expectedSignature
    if (
      expected === undefined ||
      signature?.length !== SCRAM_KEY_LENGTH ||
      !timingSafeEqual(signature, expected)
    ) {
      throw malformed('incorrect server signature')
    }
  }
}

/** Strictly: what Node would skip or read leniently is `undefined`. */
function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : undefined
}

function malformed(detail: string): Error {
  return loginError('server_not_authenticated', detail)
}
