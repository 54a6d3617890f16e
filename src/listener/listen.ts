/**
 * Opening the sockets that clients come to.
 *
 * @module
 */
import { chmod, lstat, unlink } from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import type { Log } from '../log.ts'

export interface ListenOptions {
  /** Host names, addresses, or `*` for all. */
  readonly addresses: readonly string[]
  readonly socketDirectories: readonly string[]
  /** Relative directories start here. */
  readonly baseDirectory: string
  /** TCP port, and the number in the names of Unix sockets; 0 takes any free one (TCP only). */
  readonly port: number
  readonly log: Log
  readonly onConnection: (socket: net.Socket, local: boolean) => void
}

/** Open sockets; `addresses` has what clients connect to. */
export interface Listeners {
  readonly addresses: readonly ListenAddress[]
  /** Takes no more connections; those that are open stay. */
  close(): Promise<void>
}

export type ListenAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'local'; readonly path: string }

/** Opens all of them, or none: a failure closes what was opened, and is thrown. */
export async function listen(options: ListenOptions): Promise<Listeners> {
  const servers: net.Server[] = []
  const close = async (): Promise<void> => {
    await Promise.all(servers.map(closeServer))
  }
  try {
    const addresses: ListenAddress[] = []
    let port = options.port
    for (const host of options.addresses) {
      const server = openServer(options, false)
      servers.push(server)
      const bound = await bindTcp(server, host, port)
      // With port 0 the second address takes the port that the first one got.
      port = bound.port
      addresses.push(bound)
      options.log.log(listeningText(bound))
    }
    for (const directory of options.socketDirectories) {
      const server = openServer(options, true)
      servers.push(server)
      const bound = await bindUnix(
        server,
        path.resolve(options.baseDirectory, directory, `.s.PGSQL.${port}`),
      )
      addresses.push(bound)
      options.log.log(listeningText(bound))
    }
    return { addresses, close }
  } catch (error) {
    await close()
    throw error
  }
}

function openServer({ onConnection }: ListenOptions, local: boolean): net.Server {
  const server = net.createServer({
    // The session reads on purpose, and decides itself when its side ends.
    pauseOnConnect: true,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
  })
  server.on('connection', (socket) => onConnection(socket, local))
  return server
}

async function bindTcp(
  server: net.Server,
  host: string,
  port: number,
): Promise<{ kind: 'tcp'; host: string; port: number }> {
  await bind(server, host === '*' ? { port } : { host, port }).catch((cause: unknown) => {
    throw new Error(bindProblem(host, port, cause as NodeJS.ErrnoException), { cause })
  })
  const address = server.address() as net.AddressInfo
  return { kind: 'tcp', host: address.address, port: address.port }
}

// StreamServerPort() in pqcomm.c: an address that is in use is the mistake that people make.
function bindProblem(host: string, port: number, { code, message }: NodeJS.ErrnoException): string {
  if (code === 'EADDRINUSE') {
    return `could not bind address "${host}", port ${port}: Address already in use`
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return `could not translate host name "${host}" of "listen_addresses" to address: ${message}`
  }
  return `could not bind address "${host}", port ${port}: ${message}`
}

async function bindUnix(server: net.Server, file: string): Promise<ListenAddress> {
  await removeStaleSocket(file)
  await bind(server, { path: file })
  await chmod(file, 0o777)
  return { kind: 'local', path: file }
}

async function bind(server: net.Server, where: net.ListenOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ ...where, backlog: 511 }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

// A socket file outlives a process that was killed; one that answers belongs to somebody.
async function removeStaleSocket(file: string): Promise<void> {
  const status = await lstat(file).catch(() => undefined)
  if (status?.isSocket() && !(await isAlive(file))) {
    await unlink(file)
  }
}

async function isAlive(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect({ path: file })
    const settle = (alive: boolean): void => {
      probe.destroy()
      resolve(alive)
    }
    probe.once('connect', () => settle(true))
    probe.once('error', () => settle(false))
  })
}

async function closeServer(server: net.Server): Promise<void> {
  if (server.listening) {
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      // close() waits for connections that have been accepted; sessions have owners of their own.
      resolve()
    })
  }
}

function listeningText(address: ListenAddress): string {
  if (address.kind === 'local') {
    return `listening on Unix socket "${address.path}"`
  }
  const family = net.isIPv6(address.host) ? 'IPv6' : 'IPv4'
  return `listening on ${family} address "${address.host}", port ${address.port}`
}
