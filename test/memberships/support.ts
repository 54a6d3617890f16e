/** A way to a server that can be closed and opened. */
import { once } from 'node:events'
import net from 'node:net'

export interface Gateway extends AsyncDisposable {
  readonly port: number
  /** Connections that were let through, from the first. */
  readonly passed: () => number
  /** From now on connections are reset, and those that are open end. */
  close(): void
  open(): void
}

/** Passes connections on to `port` on 127.0.0.1. */
export async function startGateway(port: number, { open = true } = {}): Promise<Gateway> {
  const sockets = new Set<net.Socket>()
  let isOpen = open
  let passed = 0
  const keep = (socket: net.Socket): void => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  }
  const server = net.createServer((client) => {
    keep(client)
    if (!isOpen) {
      client.resetAndDestroy()
      return
    }
    passed += 1
    const behind = net.connect(port, '127.0.0.1')
    keep(behind)
    client.pipe(behind).pipe(client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = (): void => {
    isOpen = false
    for (const socket of sockets) {
      socket.destroy()
    }
  }
  return {
    port: (server.address() as net.AddressInfo).port,
    passed: () => passed,
    close,
    open: () => {
      isOpen = true
    },
    async [Symbol.asyncDispose]() {
      close()
      server.close()
      await once(server, 'close')
    },
  }
}
