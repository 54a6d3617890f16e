/**
 * TCP ports for servers that cannot choose one themselves.
 *
 * @module
 */
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

const LOWEST = 10_240
/** Outgoing connections take their ports from here up (`ip_local_port_range` on Linux). */
const EPHEMERAL = 32_768

/**
 * A port of 127.0.0.1 that nothing listens on now, below the range of outgoing connections, so that
 * it is not lost to one between this answer and its use. Another server may still take it: whoever
 * uses it retries with another.
 *
 * @param preferred - tried first, in this order.
 */
export async function findFreePort(...preferred: readonly number[]): Promise<number> {
  for (const port of preferred) {
    if (await isFree(port)) {
      return port
    }
  }
  for (;;) {
    const port = randomInt(LOWEST, EPHEMERAL)
    if (await isFree(port)) {
      return port
    }
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      server.close(() => resolve(true))
    })
  })
}
