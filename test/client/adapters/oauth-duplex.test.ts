import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { credential, pgOAuth } from '../../../src/client/index.ts'
import type { OAuthDuplex } from '../../../src/client/adapters/oauth-duplex.ts'
import { authenticationOk } from '../../../src/protocol/backend-messages.ts'
import { startupMessage } from '../../../src/protocol/frontend-messages.ts'
import { fromText } from '../../../src/byte-string.ts'
import { type Script, scriptedServer } from '../support/scripted-server.ts'

/** A stream as a driver has it, logged in; `seen` is what the driver has read. */
async function open(
  script: Script,
): Promise<AsyncDisposable & { readonly stream: OAuthDuplex; readonly seen: Buffer[] }> {
  const server = await scriptedServer(script)
  const options = { tls: false, insecure: 'loopback-only', token: () => credential('t') } as const
  const stream = pgOAuth(options).stream() as OAuthDuplex
  const seen: Buffer[] = []
  stream.connect(server.port, server.host)
  await once(stream, 'connect')
  stream.write(startupMessage(0x30000, [[fromText('user'), fromText('ann')]]))
  return {
    stream,
    seen,
    async [Symbol.asyncDispose]() {
      stream.destroy()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Waits until a count that has begun grows no more. */
async function standsStill(count: () => number): Promise<void> {
  for (let before = 0; before === 0 || before !== count(); ) {
    before = count()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

describe('the stream of a driver', () => {
  it('M9: is the server’s bytes behind a welcome, and the driver’s bytes to the server', async () => {
    const fromServer = randomBytes(3_000_001)
    const fromDriver = randomBytes(2_000_003)
    const arrived: Buffer[] = []
    let all = (): void => {}
    const over = new Promise<void>((resolve) => (all = resolve))
    await using session = await open(async (peer) => {
      await peer.askToken()
      peer.source.detach()
      peer.socket.on('data', (chunk: Buffer) => {
        arrived.push(chunk)
        if (Buffer.concat(arrived).length === fromDriver.length) {
          all()
        }
      })
      peer.socket.resume()
      peer.socket.write(authenticationOk())
      // In pieces of no shape, the first of them in the chunk of the welcome.
      for (let at = 0; at < fromServer.length; at += 65_537) {
        peer.socket.write(fromServer.subarray(at, at + 65_537))
      }
    })
    const { stream, seen } = session
    stream.on('data', (chunk: Buffer) => seen.push(chunk))
    const expected = Buffer.concat([authenticationOk(), fromServer])
    await expect.poll(() => Buffer.concat(seen).length, { timeout: 10_000 }).toBe(expected.length)
    for (let at = 0; at < fromDriver.length; at += 40_009) {
      stream.write(fromDriver.subarray(at, at + 40_009))
    }
    await over
    expect(Buffer.concat(seen).equals(expected)).toBe(true)
    expect(Buffer.concat(arrived).equals(fromDriver)).toBe(true)
  })

  it('M7: a reader that does not read makes the server wait, and then gets all of it', async () => {
    const total = 64 * 1024 * 1024
    const chunk = Buffer.alloc(64 * 1024, 'x')
    let written = 0
    await using session = await open(async (peer) => {
      await peer.askToken()
      peer.socket.write(authenticationOk())
      while (written < total) {
        written += chunk.length
        if (!peer.socket.write(chunk)) {
          await once(peer.socket, 'drain')
        }
      }
    })
    const { stream } = session
    let read = 0
    stream.pause()
    // What is under way is bounded by what kernels and streams hold: it stops, far from the end.
    await standsStill(() => written)
    expect(written).toBeLessThan(total / 2)
    expect(stream.readableLength).toBeLessThan(1024 * 1024)
    stream.on('data', (bytes: Buffer) => {
      read += bytes.length
    })
    stream.resume()
    const expected = total + authenticationOk().length
    await expect.poll(() => read, { timeout: 20_000 }).toBe(expected)
  })

  it('M7: a server that does not read makes the driver wait', async () => {
    const total = 64 * 1024 * 1024
    const chunk = Buffer.alloc(64 * 1024, 'x')
    let arrived = 0
    let begin = (): void => {}
    const begun = new Promise<void>((resolve) => (begin = resolve))
    await using session = await open(async (peer) => {
      await peer.askToken()
      peer.source.detach()
      peer.socket.pause()
      peer.socket.write(authenticationOk())
      await begun
      peer.socket.on('data', (bytes: Buffer) => {
        arrived += bytes.length
      })
      peer.socket.resume()
    })
    const { stream } = session
    await once(stream.resume(), 'data')
    let written = 0
    const writing = (async () => {
      while (written < total) {
        written += chunk.length
        if (!stream.write(chunk)) {
          await once(stream, 'drain')
        }
      }
    })()
    await standsStill(() => written)
    expect(written).toBeLessThan(total / 2)
    begin()
    await writing
    await expect.poll(() => arrived, { timeout: 20_000 }).toBe(total)
  })
})
