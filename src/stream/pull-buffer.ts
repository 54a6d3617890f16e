import { Buffer } from 'node:buffer'

/**
 * Bytes that were read and not yet taken, and the one reader who waits for more. The part that every
 * {@link ByteSource} has in common.
 */
export class PullBuffer {
  #chunks: Buffer[] = []
  #size = 0
  #ended = false
  #wake: (() => void) | undefined

  get size(): number {
    return this.#size
  }

  get ended(): boolean {
    return this.#ended
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    this.#wakeReader()
  }

  end(): void {
    this.#ended = true
    this.#wakeReader()
  }

  unread(chunk: Buffer): void {
    if (chunk.length > 0) {
      this.#chunks.unshift(chunk)
      this.#size += chunk.length
    }
  }

  takeAll(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#size = 0
    return all ?? Buffer.alloc(0)
  }

  take(size: number): Buffer {
    const all = this.takeAll()
    if (all.length === size) {
      return all
    }
    this.unread(all.subarray(size))
    return all.subarray(0, size)
  }

  /** Resolves when there are at least `size` bytes or no more will come. */
  async until(size: number, more: () => void): Promise<void> {
    while (this.#size < size && !this.#ended) {
      if (this.#wake !== undefined) {
        throw new TypeError('two readers of one source')
      }
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      more()
      await woken
    }
  }

  #wakeReader(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
