import type { Buffer } from 'node:buffer'
import type { ByteConsumer, ByteSource } from './byte-source.ts'
import { PullBuffer } from './pull-buffer.ts'

/** What every {@link ByteSource} does alike; how bytes come in is the subclass's. */
export abstract class PulledSource implements ByteSource {
  abstract readonly reusesBuffer: boolean
  protected readonly pulled: PullBuffer = new PullBuffer()
  /** Set once the source flows. */
  protected consumer: ByteConsumer | undefined

  abstract resume(): void
  /** Nobody waits for bytes any more: the end of the stream is the consumer's affair. */
  protected abstract stopPulling(): void

  get buffered(): number {
    return this.pulled.size
  }

  async readSome(): Promise<Buffer | undefined> {
    await this.pulled.until(1, this.#more)
    return this.pulled.size > 0 ? this.pulled.takeAll() : undefined
  }

  async readExactly(size: number): Promise<Buffer | undefined> {
    await this.pulled.until(size, this.#more)
    return this.pulled.size >= size ? this.pulled.take(size) : undefined
  }

  readAhead(): void {
    if (this.pulled.size === 0) {
      this.resume()
    }
  }

  unread(chunk: Buffer): void {
    this.pulled.unread(chunk)
  }

  flow(consumer: ByteConsumer): void {
    this.consumer = consumer
    this.stopPulling()
    if (this.pulled.size > 0 && !consumer(this.pulled.takeAll())) {
      return
    }
    this.resume()
  }

  readonly #more = (): void => {
    this.resume()
  }
}
