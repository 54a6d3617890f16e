/** What the tests of upstream/ share. */
import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import net from 'node:net'
import { fromText } from '../../src/byte-string.ts'
import { silentLog } from '../../src/log.ts'
import { SocketSource } from '../../src/stream/socket-source.ts'
import {
  connectUpstream,
  type UpstreamConnection,
  type UpstreamStartup,
} from '../../src/upstream/connect-upstream.ts'
import type { UpstreamCredential } from '../../src/upstream/credential.ts'
import type { UpstreamSettings } from '../../src/upstream/settings.ts'

export function upstreamSettings(change: Partial<UpstreamSettings>): UpstreamSettings {
  return {
    host: '127.0.0.1',
    port: 5432,
    sslmode: 'disable',
    sslnegotiation: 'postgres',
    connectTimeoutMs: 20_000,
    channelBinding: 'prefer',
    ...change,
  }
}

export function startup(
  user: string,
  parameters: Readonly<Record<string, string>> = { database: 'postgres' },
  version = 0x30000,
): UpstreamStartup {
  const all = Object.entries({ user, ...parameters })
  return { version, parameters: all.map(([name, value]) => [fromText(name), fromText(value)]) }
}

/** Logs in with what does not matter to the test filled in. */
export function connect(
  settings: UpstreamSettings,
  as: UpstreamStartup,
  credential?: UpstreamCredential,
  signal: AbortSignal = new AbortController().signal,
): Promise<UpstreamConnection> {
  return connectUpstream(settings, as, { credential, signal, log: silentLog })
}

/** The types of the messages in `bytes`, such as `SSKZ`. Throws where they are not whole. */
export function messageTypes(bytes: Buffer): string {
  let types = ''
  let at = 0
  while (at < bytes.length) {
    types += String.fromCharCode(bytes[at]!)
    at += 1 + bytes.readUInt32BE(at + 1)
  }
  if (at !== bytes.length) {
    throw new Error('bytes end inside a message')
  }
  return types
}

/** What one query answers, as raw bytes; then the session ends. */
export async function query(connection: UpstreamConnection, sql: string): Promise<Buffer> {
  const text = Buffer.from(`${sql}\0`)
  const head = Buffer.from([0x51, 0, 0, 0, 0])
  head.writeUInt32BE(4 + text.length, 1)
  connection.socket.write(Buffer.concat([head, text, Buffer.from([0x58, 0, 0, 0, 4])]))
  const chunks: Buffer[] = []
  for (let next = await connection.source.readSome(); next; ) {
    chunks.push(next)
    next = await connection.source.readSome()
  }
  connection.socket.destroy()
  return Buffer.concat(chunks)
}

/** The server's side of a scripted connection. */
export class ScriptedPeer {
  readonly socket: net.Socket
  readonly #source: SocketSource

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.on('error', () => {})
    this.#source = new SocketSource(socket)
  }

  write(...parts: readonly (string | Uint8Array)[]): void {
    this.socket.write(Buffer.concat(parts.map((part) => Buffer.from(part as string, 'latin1'))))
  }

  async read(size: number): Promise<Buffer> {
    const bytes = await this.#source.readExactly(size)
    if (bytes === undefined) {
      throw new Error('the client has gone')
    }
    return bytes
  }

  /** A startup packet or request without its length word. */
  async readStartup(): Promise<Buffer> {
    return this.read((await this.read(4)).readUInt32BE(0) - 4)
  }

  /** A whole message, type and length word included. */
  async readMessage(): Promise<Buffer> {
    const head = await this.read(5)
    return Buffer.concat([head, await this.read(head.readUInt32BE(1) - 4)])
  }

  /** Resolves when the client has closed, or ended its side. */
  async untilGone(): Promise<void> {
    while ((await this.#source.readSome()) !== undefined) {
      // Whatever it still says.
    }
  }

  release(): net.Socket {
    this.#source.detach()
    return this.socket
  }
}

export interface ScriptedServer extends AsyncDisposable {
  readonly port: number
  /** Connections that were accepted, from the first. */
  readonly accepted: () => number
  /** Connections that are open now. */
  readonly open: () => number
  /** Resolves when no connection is open. */
  readonly untilIdle: () => Promise<void>
}

/** A server on 127.0.0.1 that does what `script` says with each connection, then closes it. */
export async function scriptedServer(
  script: (peer: ScriptedPeer, connection: number) => Promise<void> | void,
): Promise<ScriptedServer> {
  const sockets = new Set<net.Socket>()
  let accepted = 0
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    accepted += 1
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      server.emit('gone')
    })
    const peer = new ScriptedPeer(socket)
    void (async () => {
      try {
        await script(peer, accepted)
      } catch {
        // The client left in the middle of the script: the tests look at the client.
      }
      socket.end()
      await peer.untilGone()
      socket.destroy()
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    accepted: () => accepted,
    open: () => sockets.size,
    async untilIdle() {
      while (sockets.size > 0) {
        await once(server, 'gone')
      }
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy()
      }
      server.close()
      await once(server, 'close')
    },
  }
}

/** One message of the server, from its type and the parts of its body. */
export function message(type: string, ...parts: readonly (string | Uint8Array | number)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => {
      if (typeof part !== 'number') {
        return Buffer.from(part as string, 'latin1')
      }
      const word = Buffer.alloc(4)
      word.writeInt32BE(part)
      return word
    }),
  )
  const head = Buffer.alloc(5)
  head.write(type, 0, 'latin1')
  head.writeUInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}

export const READY: Buffer = message('Z', 'I')
export const AUTHENTICATION_OK: Buffer = message('R', 0)
