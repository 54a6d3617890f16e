import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { relay, type RelaySide } from '../../src/relay/relay.ts'
import { connectOnread } from '../../src/stream/onread-socket.ts'
import { SocketSource } from '../../src/stream/socket-source.ts'
import { withCertificates } from '../support/certificates.ts'

const certificates = withCertificates()

const GOODBYE = Buffer.from('goodbye')

interface Ends {
  /** What the client holds. */
  readonly client: net.Socket
  /** What the server behind holds. */
  readonly server: net.Socket
  readonly done: Promise<void>
  readonly stop: () => void
}

/** A client and a server with a relay between them. */
async function relayed({ encrypted = false } = {}): Promise<Ends> {
  const [behind, serverSide] = await pair((port) => {
    const { socket, source } = connectOnread({ host: '127.0.0.1', port, allowHalfOpen: true })
    return { socket, source }
  })
  const [accepted, client] = await acceptClient(encrypted)
  const controller = new AbortController()
  const done = relay({ socket: accepted, source: new SocketSource(accepted) }, serverSide, {
    signal: controller.signal,
    goodbye: GOODBYE,
  })
  for (const socket of [behind, client, accepted, serverSide.socket]) {
    socket.on('error', () => {})
    onTestFinished(() => {
      socket.destroy()
    })
  }
  return { client, server: behind, done, stop: () => controller.abort() }
}

async function pair(open: (port: number) => RelaySide): Promise<[net.Socket, RelaySide]> {
  const listener = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const side = open((listener.address() as net.AddressInfo).port)
  const [socket] = (await once(listener, 'connection')) as [net.Socket]
  listener.close()
  return [socket, side]
}

async function acceptClient(encrypted: boolean): Promise<[net.Socket, net.Socket]> {
  const listener = net
    .createServer({ allowHalfOpen: true, pauseOnConnect: true })
    .listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as net.AddressInfo
  const plain = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [raw] = (await once(listener, 'connection')) as [net.Socket]
  listener.close()
  if (!encrypted) {
    return [raw, plain]
  }
  const accepted = new tls.TLSSocket(raw, {
    isServer: true,
    secureContext: tls.createSecureContext(certificates().server),
  })
  const client = tls.connect({ socket: plain, rejectUnauthorized: false })
  await Promise.all([once(accepted, 'secure'), once(client, 'secureConnect')])
  return [accepted, client]
}

/** Numbered blocks, so that a byte that comes twice, late or from elsewhere changes the digest. */
function* blocks(total: number, size: number): Generator<Buffer> {
  for (let at = 0; at < total; at += size) {
    const block = Buffer.alloc(Math.min(size, total - at), at / size)
    block.writeUInt32BE(at / size, 0)
    yield block
  }
}

async function send(socket: net.Socket, total: number, size: number): Promise<string> {
  const digest = createHash('sha256')
  for (const block of blocks(total, size)) {
    digest.update(block)
    if (!socket.write(block)) {
      await once(socket, 'drain')
    }
  }
  socket.end()
  return digest.digest('hex')
}

/** Reads to the end, stopping often: what is not taken must wait, and must not be written over. */
async function readSlowly(socket: net.Socket): Promise<string> {
  const digest = createHash('sha256')
  let chunks = 0
  socket.on('data', (chunk: Buffer) => {
    digest.update(chunk)
    chunks += 1
    if (chunks % 64 === 0) {
      socket.pause()
      void sleep(1).then(() => socket.resume())
    }
  })
  await once(socket, 'end')
  return digest.digest('hex')
}

async function readExactly(socket: net.Socket, length: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (let left = length; left > 0; ) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    chunks.push(chunk)
    left -= chunk.length
  }
  return Buffer.concat(chunks)
}

/** Ends its own side when the other one does, as most programs do. */
function endsInTurn(socket: net.Socket): void {
  socket.on('end', () => socket.end())
  socket.resume()
}

const MEGABYTE = 1024 * 1024

describe.each([
  ['a plain client', false],
  ['a TLS client', true],
])('between %s and a server', (_what, encrypted) => {
  it('every byte from the server reaches a slow reader unchanged', async () => {
    const { client, server, done } = await relayed({ encrypted })
    const read = readSlowly(client)
    const sent = await send(server, 48 * MEGABYTE, 8192)
    expect(await read).toBe(sent)
    client.end()
    await done
  })

  it('every byte from the client reaches a slow reader unchanged', async () => {
    const { client, server, done } = await relayed({ encrypted })
    const read = readSlowly(server)
    const sent = await send(client, 48 * MEGABYTE, 10_007)
    expect(await read).toBe(sent)
    server.end()
    await done
  })

  it('short and long answers in turn reach the client unchanged', async () => {
    const { client, server, done } = await relayed({ encrypted })
    // Around the sizes at which buffers grow, shrink and are copied.
    const short = Array.from({ length: 20 }, (_, i) => i + 1)
    const lengths = [...short, 4095, 4096, 4097, 70_000, ...short, 4096, 200_000, 8192, ...short, 1]
    for (const [i, length] of lengths.entries()) {
      const answer = Buffer.alloc(length, `answer ${i},`)
      const received = readExactly(client, length)
      server.write(answer)
      expect((await received).equals(answer)).toBe(true)
    }
    endsInTurn(client)
    server.end()
    await done
  })

  it('bytes go both ways at once', async () => {
    const { client, server, done } = await relayed({ encrypted })
    const reads = Promise.all([readSlowly(client), readSlowly(server)])
    const sent = await Promise.all([
      send(server, 16 * MEGABYTE, 65_536),
      send(client, 16 * MEGABYTE, 333),
    ])
    expect(await reads).toEqual(sent)
    await done
  })

  it('a side that ends its half still receives the rest', async () => {
    const { client, server, done } = await relayed({ encrypted })
    client.end('last question')
    const [question] = (await once(server, 'data')) as [Buffer]
    expect(question.toString()).toBe('last question')
    await once(server, 'end')
    server.end('last answer')
    const [answer] = (await once(client, 'data')) as [Buffer]
    expect(answer.toString()).toBe('last answer')
    await done
  })

  it('a client that leaves closes the server’s side', async () => {
    const { client, server, done } = await relayed({ encrypted })
    endsInTurn(server)
    client.destroy()
    await once(server, 'close')
    await done
  })

  it('a server that resets closes the client’s side', async () => {
    const { client, server, done } = await relayed({ encrypted })
    endsInTurn(client)
    server.resetAndDestroy()
    await once(client, 'close')
    await done
  })
})

describe('a relay that is stopped', () => {
  const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

  it('says goodbye to a client whose server is at rest', async () => {
    const { client, server, done, stop } = await relayed()
    server.write(READY)
    await once(client, 'data')
    stop()
    const [last] = (await once(client, 'data')) as [Buffer]
    expect(last).toEqual(GOODBYE)
    client.end()
    await done
  })

  it('puts nothing into the middle of a message', async () => {
    const { client, server, done, stop } = await relayed()
    server.write(Buffer.from([0x44, 0, 0, 1, 0, 7, 7]))
    const [half] = (await once(client, 'data')) as [Buffer]
    expect(half).toHaveLength(7)
    stop()
    const rest: Buffer[] = []
    client.on('data', (chunk: Buffer) => rest.push(chunk))
    endsInTurn(client)
    await once(client, 'close')
    expect(rest).toEqual([])
    await done
  })

  it('closes the server’s side, whoever was writing', async () => {
    const { client, server, done, stop } = await relayed()
    endsInTurn(server)
    endsInTurn(client)
    stop()
    await once(server, 'close')
    await done
  })
})
