import net from 'node:net'
import os from 'node:os'
import fs from 'node:fs'
import path from 'node:path'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import {
  authenticationOk,
  authenticationSASL,
  authenticationSASLContinue,
  errorResponse,
} from '../../../src/protocol/backend-messages.ts'
import { SSL_REQUEST_CODE } from '../../../src/protocol/limits.ts'
import { cString, encodeMessage, int32 } from '../../../src/protocol/message.ts'
import { SocketSource } from '../../../src/stream/socket-source.ts'

/** One connection as a script sees it: whole messages in, bytes out, and a record of what came. */
export class Peer {
  readonly socket: Duplex
  readonly source: SocketSource
  /** Everything the client sent, in order, with type bytes; the startup packet is `startup`. */
  readonly received: Buffer[] = []
  startup: Buffer = Buffer.alloc(0)

  constructor(socket: Duplex) {
    this.socket = socket
    this.source = new SocketSource(socket)
    socket.on('error', () => {})
  }

  async readStartup(): Promise<Buffer | undefined> {
    const head = await this.source.readExactly(4)
    const rest = head && (await this.source.readExactly(head.readUInt32BE(0) - 4))
    this.startup = rest === undefined ? Buffer.alloc(0) : Buffer.concat([head!, rest])
    return rest && this.startup
  }

  /** The next message, or undefined when the client has gone. */
  async read(): Promise<{ type: string; body: Buffer } | undefined> {
    const head = await this.source.readExactly(5)
    const body = head && (await this.source.readExactly(head.readUInt32BE(1) - 4))
    if (head === undefined || body === undefined) {
      return undefined
    }
    this.received.push(Buffer.concat([head, body]))
    return { type: String.fromCharCode(head[0]!), body }
  }

  send(...bytes: Buffer[]): void {
    if (this.socket.writable) {
      this.socket.write(Buffer.concat(bytes))
    }
  }

  /** Asks for OAUTHBEARER and returns the token, `''` for discovery. */
  async askToken(): Promise<string | undefined> {
    this.send(authenticationSASL(['OAUTHBEARER']))
    const message = await this.read()
    return message && /auth=(?:Bearer )?([^\x01]*)\x01/.exec(message.body.toString('latin1'))?.[1]
  }

  /** Refuses as PostgreSQL does. */
  async refuse(challenge: string, sqlState = '28000'): Promise<void> {
    this.send(authenticationSASLContinue(Buffer.from(challenge)))
    await this.read()
    this.fail(sqlState, 'OAuth bearer authentication failed for user "ann"')
  }

  fail(sqlState: string, message: string): void {
    this.send(errorResponse({ severity: 'FATAL', sqlState, message }))
    this.socket.end()
  }

  welcome(): void {
    this.send(authenticationOk(), READY)
  }

  /** A session that answers every simple query with one row `1` until the client leaves. */
  async serve(onQuery?: (sql: string, peer: Peer) => boolean): Promise<void> {
    for (;;) {
      const message = await this.read()
      if (message === undefined || message.type === 'X') {
        this.socket.end()
        return
      }
      if (message.type === 'Q') {
        const sql = message.body.toString('utf8', 0, message.body.length - 1)
        if (onQuery?.(sql, this) !== true) {
          this.send(ONE_ROW, READY_FOR_QUERY)
        }
      } else if (message.type === 'S') {
        this.send(EXTENDED_ROW, READY_FOR_QUERY)
      }
    }
  }
}

const READY_FOR_QUERY = encodeMessage('Z', Buffer.from('I'))

/** What follows AuthenticationOk. */
export const READY: Buffer = Buffer.concat([
  encodeMessage('S', Buffer.concat([cString('server_version'), cString('18.0')])),
  encodeMessage('S', Buffer.concat([cString('client_encoding'), cString('UTF8')])),
  encodeMessage('S', Buffer.concat([cString('standard_conforming_strings'), cString('on')])),
  encodeMessage('K', Buffer.concat([int32(7), int32(9)])),
  READY_FOR_QUERY,
])

const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255])
const DESCRIPTION = encodeMessage(
  'T',
  Buffer.concat([
    int16(1),
    cString('one'),
    int32(0),
    int16(0),
    int32(23),
    int16(4),
    int32(-1),
    int16(0),
  ]),
)
const ROW = encodeMessage('D', Buffer.concat([int16(1), int32(1), Buffer.from('1')]))
const COMPLETE = encodeMessage('C', cString('SELECT 1'))
export const ONE_ROW: Buffer = Buffer.concat([DESCRIPTION, ROW, COMPLETE])
const EXTENDED_ROW = Buffer.concat([
  encodeMessage('1'),
  encodeMessage('t', int16(0)),
  DESCRIPTION,
  encodeMessage('2'),
  ROW,
  COMPLETE,
])

export type Script = (peer: Peer, index: number) => Promise<void> | void

export interface ScriptedServer extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** Every connection that got as far as a startup packet, in the order of arrival. */
  readonly peers: Peer[]
  /** Sockets accepted, whatever came of them. */
  readonly accepted: number
}

export interface ServerOptions {
  readonly tls?: tls.TlsOptions
  /** Answers the SSLRequest with `N`, or this text. */
  readonly sslAnswer?: string
  readonly direct?: boolean
  readonly unix?: boolean
  readonly host?: string
  /** Called with the raw socket instead of anything else. */
  readonly raw?: (socket: net.Socket) => void
}

/** Listens on a free port (or a private Unix socket) and runs a script for every connection. */
export async function scriptedServer(
  script: Script,
  options: ServerOptions = {},
): Promise<ScriptedServer> {
  const peers: Peer[] = []
  const sockets = new Set<net.Socket>()
  let accepted = 0
  const serve = async (socket: Duplex): Promise<void> => {
    const peer = new Peer(socket)
    if ((await peer.readStartup()) !== undefined) {
      peers.push(peer)
      await script(peer, peers.length - 1)
    }
  }
  const server = net.createServer((socket) => {
    accepted += 1
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    if (options.raw !== undefined) {
      options.raw(socket)
      return
    }
    void encrypted(socket, options).then((secured) => secured && serve(secured))
  })
  const directory = options.unix ? fs.mkdtempSync(path.join(os.tmpdir(), 'pgb-')) : undefined
  await new Promise<void>((resolve) => {
    if (directory === undefined) {
      server.listen(0, options.host ?? '127.0.0.1', resolve)
    } else {
      server.listen(path.join(directory, '.s.PGSQL.5432'), resolve)
    }
  })
  return {
    host: directory ?? options.host ?? '127.0.0.1',
    port: directory === undefined ? (server.address() as net.AddressInfo).port : 5432,
    peers,
    get accepted() {
      return accepted
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy()
      }
      await new Promise((resolve) => server.close(resolve))
      if (directory !== undefined) {
        fs.rmSync(directory, { recursive: true, force: true })
      }
    },
  }
}

async function encrypted(socket: net.Socket, options: ServerOptions): Promise<Duplex | undefined> {
  if (options.tls === undefined && options.sslAnswer === undefined) {
    return socket
  }
  if (options.direct !== true) {
    const source = new SocketSource(socket)
    const request = await source.readExactly(8)
    if (request?.readUInt32BE(4) !== SSL_REQUEST_CODE) {
      socket.destroy()
      return undefined
    }
    source.detach()
    socket.write(options.sslAnswer ?? 'S')
    if (options.sslAnswer !== undefined) {
      return undefined
    }
  }
  const secured = new tls.TLSSocket(socket, {
    isServer: true,
    ALPNProtocols: ['postgresql'],
    ...options.tls,
  })
  secured.on('error', () => {})
  return secured
}

/** The issuer that the scripts announce. */
export const ISSUER = 'https://issuer.example'
export const DISCOVERY_URL = `${ISSUER}/.well-known/openid-configuration`
/** PostgreSQL's refusal. */
export const REFUSAL = `{ "status": "invalid_token", "openid-configuration": "${DISCOVERY_URL}", "scope": "openid db" }`

/** An honest server: takes the tokens that `accepts` takes. */
export function honest(accepts: (token: string, index: number) => boolean): Script {
  return async (peer, index) => {
    const token = await peer.askToken()
    if (token === undefined) {
      return
    }
    if (token !== '' && accepts(token, index)) {
      peer.welcome()
      await peer.serve()
      return
    }
    await peer.refuse(REFUSAL)
  }
}
