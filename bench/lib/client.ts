/**
 * The load generator's client: a raw socket, logged in. Written apart from `src/`, except for the
 * arithmetic of SCRAM.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import net from 'node:net'
import tls from 'node:tls'
import type { UpstreamCredential } from '../../src/upstream/credential.ts'
import { ScramClient } from '../../src/upstream/scram-client.ts'
import { scramKeys } from '../../src/upstream/scram-keys.ts'
import {
  type BackendMessage,
  MessageSplitter,
  saslInitialResponse,
  saslResponse,
  sslRequest,
  startupMessage,
  terminate,
} from './messages.ts'

/** Where a contender listens, and how TLS begins there: asked for, or at once (a TLS terminator). */
export interface Route {
  readonly port: number
  readonly encryption: 'plain' | 'tls' | 'direct-tls'
}

/** Who logs in. `any`: with nothing at all. */
export interface Account {
  readonly user: string
  readonly database: string
  readonly proof:
    | { readonly kind: 'any' }
    | { readonly kind: 'token'; readonly next: () => string }
    | { readonly kind: 'scram'; readonly credential: UpstreamCredential }
}

/** Connects and logs in. @throws {Error} for a refusal, or where the socket closes. */
export async function openSession(route: Route, account: Account): Promise<net.Socket> {
  const raw = net.connect({ host: '127.0.0.1', port: route.port, noDelay: true })
  try {
    await event(raw, 'connect')
    const socket = route.encryption === 'plain' ? raw : await secure(raw, route.encryption)
    await logIn(socket, account)
    return socket
  } catch (error) {
    raw.destroy()
    throw error
  }
}

/** Terminates, as libpq does, and waits until the other side has closed. */
export async function closeSession(socket: net.Socket): Promise<void> {
  const closed = event(socket, 'close')
  // A reset instead of an end is the server's way of being quicker.
  closed.catch(() => socket.destroy())
  socket.end(terminate)
  socket.resume()
  await closed.catch(() => {})
}

async function secure(raw: net.Socket, encryption: 'tls' | 'direct-tls'): Promise<tls.TLSSocket> {
  if (encryption === 'tls') {
    raw.write(sslRequest)
    const [answer] = (await event(raw, 'data')) as [Buffer]
    raw.pause()
    raw.removeAllListeners('data')
    if (answer.toString('latin1') !== 'S') {
      throw new Error('the server has no TLS')
    }
  }
  const socket = tls.connect({ socket: raw, rejectUnauthorized: false })
  await event(socket, 'secureConnect')
  return socket
}

function event(socket: net.Socket, name: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const fail = (error?: Error): void => {
      reject(error instanceof Error ? error : new Error('closed by the server'))
    }
    socket.once(name, (...values: unknown[]) => {
      socket.off('error', fail)
      socket.off('close', fail)
      resolve(values)
    })
    socket.once('error', fail)
    socket.once('close', fail)
  })
}

async function logIn(socket: net.Socket, account: Account): Promise<void> {
  const splitter = new MessageSplitter()
  const exchange = new Exchange(account)
  await new Promise<void>((resolve, reject) => {
    const onClose = (): void => reject(new Error('closed during the login'))
    const settle = (done: () => void): void => {
      socket.off('data', onData)
      socket.off('error', reject)
      socket.off('close', onClose)
      done()
    }
    const onData = (chunk: Buffer): void => {
      for (const message of splitter.push(chunk)) {
        if (message.type === 'Z') {
          settle(resolve)
        } else if (message.type === 'R') {
          exchange.answer(message).then(
            (bytes) => bytes && socket.write(bytes),
            (error: unknown) => settle(() => reject(error)),
          )
        } else if (message.type === 'E') {
          settle(() => reject(new Error(`refused: ${message.body.toString('utf8')}`)))
        }
      }
    }
    socket.on('data', onData)
    socket.once('error', reject)
    socket.once('close', onClose)
    socket.write(startupMessage(account.user, account.database))
  })
}

const AUTH = { ok: 0, sasl: 10, saslContinue: 11, saslFinal: 12 } as const

/** What is answered to each Authentication message. */
class Exchange {
  readonly #proof: Account['proof']
  readonly #scram = new ScramClient({ flag: 'n' })

  constructor({ proof }: Account) {
    this.#proof = proof
  }

  async answer({ body }: BackendMessage): Promise<Buffer | undefined> {
    const code = body.readInt32BE(0)
    const text = body.toString('latin1', 4)
    switch (code) {
      case AUTH.ok:
        return undefined
      case AUTH.sasl:
        return this.#initial()
      case AUTH.saslContinue:
        return this.#final(text)
      case AUTH.saslFinal:
        this.#scram.readServerFinal(text)
        return undefined
      default:
        throw new Error(`authentication method ${code}`)
    }
  }

  #initial(): Buffer {
    return this.#proof.kind === 'token'
      ? saslInitialResponse('OAUTHBEARER', `n,,\u0001auth=Bearer ${this.#proof.next()}\u0001\u0001`)
      : saslInitialResponse('SCRAM-SHA-256', this.#scram.clientFirst())
  }

  async #final(text: string): Promise<Buffer> {
    if (this.#proof.kind !== 'scram') {
      throw new Error('the token was refused')
    }
    const first = this.#scram.readServerFirst(text, 1)
    const keys = await scramKeys(this.#proof.credential, first.salt, first.iterations)
    return saslResponse(this.#scram.clientFinal(first, keys))
  }
}
