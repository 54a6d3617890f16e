import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import net from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { ByteSource } from '../../src/stream/byte-source.ts'
import { connectOnread } from '../../src/stream/onread-socket.ts'

const open: (() => void)[] = []
afterEach(() => {
  for (const close of open.splice(0)) {
    close()
  }
})

/** A socket that reads, and the one that it reads from. */
async function pair(): Promise<{ source: ByteSource; sender: net.Socket }> {
  const server = net.createServer({ noDelay: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const { socket, source } = connectOnread({
    host: '127.0.0.1',
    port: (server.address() as net.AddressInfo).port,
  })
  const [sender] = (await accepted) as [net.Socket]
  open.push(() => {
    socket.destroy()
    sender.destroy()
    server.close()
  })
  return { source, sender }
}

/** What the consumer was shown, in order, and a wait for so many. */
class Chunks {
  readonly shown: Buffer[] = []
  readonly copies: Buffer[] = []
  #wake: (() => void) | undefined

  keep(chunk: Buffer): void {
    this.shown.push(chunk)
    this.copies.push(Buffer.from(chunk))
    this.#wake?.()
  }

  async atLeast(count: number): Promise<void> {
    while (this.shown.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  get received(): Buffer {
    return Buffer.concat(this.copies)
  }
}

/** A consumer that is done with everything at once. */
function collect(source: ByteSource): Chunks {
  const chunks = new Chunks()
  source.flow((chunk) => {
    chunks.keep(chunk)
    return true
  })
  return chunks
}

/** No two places alike for longer than a buffer. */
function numbered(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at + 4 <= length; at += 4) {
    bytes.writeUInt32LE(at, at)
  }
  return bytes
}

const roomOf = (chunk: Buffer | undefined): number | undefined => chunk?.buffer.byteLength

describe('a consumer that needs the bytes for longer', () => {
  const SENT = numbered(32 * 1024 * 1024)

  it('is shown one chunk more, and no byte of either changes until it is done with the older one', async () => {
    const { source, sender } = await pair()
    const chunks = new Chunks()
    source.flow((chunk) => {
      chunks.keep(chunk)
      return false
    })
    sender.write(SENT)
    await chunks.atLeast(2)
    // The kernel took what it could: there is a lot to read, and nobody reads it.
    await new Promise((resolve) => setTimeout(resolve, 50))

    expect(sender.writableLength).toBeGreaterThan(0)
    expect(chunks.shown).toHaveLength(2)
    expect(chunks.shown).toStrictEqual(chunks.copies)
    expect(chunks.shown[0]?.buffer).not.toBe(chunks.shown[1]?.buffer)

    source.resume()
    await chunks.atLeast(3)
    expect(chunks.shown[1]).toStrictEqual(chunks.copies[1])
    expect(chunks.shown[2]?.buffer).not.toBe(chunks.shown[1]?.buffer)
  })

  it('gets every byte in order, however late it is done with a chunk', async () => {
    const { source, sender } = await pair()
    const chunks = new Chunks()
    const held: { readonly chunk: Buffer; readonly copy: Buffer }[] = []
    const wrong: number[] = []
    const giveBackOldest = (): void => {
      const { chunk, copy } = held.shift() ?? { chunk: SENT, copy: SENT }
      if (!chunk.equals(copy)) {
        wrong.push(chunks.copies.length)
      }
      source.resume()
    }
    let size = 0
    const all = new Promise<void>((resolve) => {
      source.flow((chunk) => {
        chunks.keep(chunk)
        size += chunk.length
        if (size === SENT.length) {
          resolve()
        }
        // Some are needed no longer, some for a turn of the event loop, some for longer.
        const kind = held.length === 0 ? chunks.copies.length % 3 : 1
        if (kind === 0) {
          return true
        }
        held.push({ chunk, copy: Buffer.from(chunk) })
        if (kind === 1) {
          setImmediate(giveBackOldest)
        } else {
          setTimeout(giveBackOldest, 2)
        }
        return false
      })
    })
    sender.write(SENT)
    await all
    expect(wrong).toStrictEqual([])
    expect(chunks.received.equals(SENT)).toBe(true)
  })
})

describe('the buffer that is read into', () => {
  it('has 1 KiB until that is filled, then 8, then 64', async () => {
    const { source, sender } = await pair()
    const chunks = collect(source)
    sender.write(numbered(4 * 1024 * 1024))
    await chunks.atLeast(4)
    expect(chunks.copies.slice(0, 3).map(({ length }) => length)).toStrictEqual([
      1024, 8192, 65_536,
    ])
    expect(chunks.shown.slice(0, 3).map(roomOf)).toStrictEqual([1024, 8192, 65_536])
  })

  it('does not keep 64 KiB for a session that does nothing after a large answer', async () => {
    const { source, sender } = await pair()
    const chunks = collect(source)
    sender.write(numbered(4 * 1024 * 1024))
    await chunks.atLeast(4)
    while (chunks.received.length < 4 * 1024 * 1024) {
      await chunks.atLeast(chunks.shown.length + 1)
    }
    const before = chunks.shown.length
    sender.write('short')
    await chunks.atLeast(before + 1)
    sender.write('short')
    await chunks.atLeast(before + 2)
    expect(roomOf(chunks.shown.at(-1))).toBe(8192)
  })

  it('is small again after a few short answers', async () => {
    const { source, sender } = await pair()
    const chunks = collect(source)
    sender.write(numbered(1024 + 100))
    await chunks.atLeast(2)
    const answers = 6
    for (let answer = 1; answer <= answers; answer += 1) {
      sender.write('short')
      await chunks.atLeast(2 + answer)
    }
    expect(roomOf(chunks.shown[1])).toBe(8192)
    expect(roomOf(chunks.shown.at(-1))).toBe(1024)
  })
})
