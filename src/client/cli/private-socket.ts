/**
 * A Unix socket that only this user can reach and that logs in with a token whoever connects to it.
 *
 * @module
 */
import fs from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { errorResponse } from '../../protocol/backend-messages.ts'
import { GSSENC_REQUEST_CODE, SSL_REQUEST_CODE } from '../../protocol/limits.ts'
import { SocketSource } from '../../stream/socket-source.ts'
import { OAuthDuplex } from '../adapters/oauth-duplex.ts'
import type { Endpoint } from '../connect/endpoint.ts'
import type { LoginPlan } from '../connect/options.ts'
import { messageOf } from '../errors.ts'

/** Listens until it is disposed. */
export interface PrivateSocket extends AsyncDisposable {
  /** For `PGHOST`: the directory, mode 0700. */
  readonly directory: string
  /** For `PGPORT`. */
  readonly port: number
}

const PORT = 5432

/**
 * Opens the socket in a fresh directory. A client says who it wants to be in its startup packet; it is
 * asked for nothing. The directory goes when the socket is disposed.
 */
export async function openPrivateSocket(
  plan: LoginPlan,
  endpoints: readonly Endpoint[],
): Promise<PrivateSocket> {
  // mkdtemp makes it 0700.
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'pgbearer-'))
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    serve(socket, plan, endpoints).catch(() => socket.destroy())
  })
  const dispose = async (): Promise<void> => {
    for (const socket of sockets) {
      socket.destroy()
    }
    await new Promise((resolve) => server.close(resolve))
    await fs.rm(directory, { recursive: true, force: true })
  }
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path.join(directory, `.s.PGSQL.${PORT}`), resolve)
    })
  } catch (error) {
    await fs.rm(directory, { recursive: true, force: true })
    throw error
  }
  return { directory, port: PORT, [Symbol.asyncDispose]: dispose }
}

async function serve(
  socket: net.Socket,
  plan: LoginPlan,
  endpoints: readonly Endpoint[],
): Promise<void> {
  await refuseEncryption(socket)
  const upstream = new OAuthDuplex(plan, endpoints)
  upstream.on('error', (error) => {
    // The server's own refusals come through as they are; this is everything else.
    if (socket.writable) {
      const message = messageOf(error)
      socket.end(errorResponse({ severity: 'FATAL', sqlState: '08006', message }))
    }
  })
  upstream.on('close', () => {
    if (upstream.errored === null) {
      socket.end()
    }
  })
  socket.on('close', () => upstream.destroy())
  socket.pipe(upstream)
  upstream.pipe(socket)
}

/** A client may ask for encryption first; on a Unix socket PostgreSQL has none. */
async function refuseEncryption(socket: net.Socket): Promise<void> {
  const source = new SocketSource(socket)
  for (let asked = 0; asked < 2; asked += 1) {
    const head = await source.readExactly(8)
    if (head === undefined) {
      break
    }
    const code = head.readUInt32BE(4)
    if (code !== SSL_REQUEST_CODE && code !== GSSENC_REQUEST_CODE) {
      source.unread(head)
      break
    }
    socket.write('N')
  }
  source.detach()
}
