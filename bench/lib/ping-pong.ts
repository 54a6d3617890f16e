/** Round trips over sessions that are logged in. @module */
import { Buffer } from 'node:buffer'
import type net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { query } from './messages.ts'
import { quantile } from './statistics.ts'

/** 100 bytes with type, length and terminator. */
export const PING: Buffer = query(`select 42 -- ${'.'.repeat(100 - 6 - 13)}`)

/** Reads one whole answer, to compare all others with. */
export async function readAnswer(socket: net.Socket, request: Buffer): Promise<Buffer> {
  socket.write(request)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk)
      const answer = Buffer.concat(chunks)
      // ReadyForQuery, idle.
      if (answer.subarray(-6).toString('latin1') === 'Z\0\0\0\u0005I') {
        socket.off('data', onData)
        resolve(answer)
      }
    }
    socket.on('data', onData)
    socket.once('close', () => reject(new Error('closed')))
  })
}

export interface PingPongOptions {
  readonly warmUpMs: number
  readonly measuredMs: number
  readonly expected: Buffer
  /** CPU of the contender so far, in µs. */
  readonly cpu: () => number
}

export interface PingPongResult {
  readonly roundTrips: number
  readonly perSecond: number
  /** CPU µs of the contender for each round trip. */
  readonly cpu: number
  /** In µs. */
  readonly p50: number
  readonly p99: number
}

/** One query at a time in each session. @throws {Error} where an answer is not what it should be. */
export async function pingPong(
  sessions: readonly net.Socket[],
  { warmUpMs, measuredMs, expected, cpu }: PingPongOptions,
): Promise<PingPongResult> {
  const players = sessions.map((socket) => new Player(socket, expected))
  for (const player of players) {
    player.begin()
  }
  await sleep(warmUpMs)
  for (const player of players) {
    player.times.length = 0
  }
  const cpuBefore = cpu()
  const begun = performance.now()
  await sleep(measuredMs)
  const cpuSpent = cpu() - cpuBefore
  const seconds = (performance.now() - begun) / 1000
  const times = players.flatMap((player) => player.times)
  await Promise.all(players.map((player) => player.end()))
  return {
    roundTrips: times.length,
    perSecond: times.length / seconds,
    cpu: cpuSpent / times.length,
    p50: quantile(times, 0.5) * 1000,
    p99: quantile(times, 0.99) * 1000,
  }
}

class Player {
  readonly times: number[] = []
  readonly #socket: net.Socket
  readonly #expected: Buffer
  #received = 0
  #sent = 0
  #ending = false
  #finish: { resolve: () => void; reject: (error: Error) => void } | undefined
  readonly #finished: Promise<void>

  constructor(socket: net.Socket, expected: Buffer) {
    this.#socket = socket
    this.#expected = expected
    this.#finished = new Promise((resolve, reject) => {
      this.#finish = { resolve, reject }
    })
    // Looked at in end().
    this.#finished.catch(() => {})
    socket.on('data', this.#onData)
    socket.once('close', this.#onClose)
  }

  begin(): void {
    this.#sent = performance.now()
    this.#socket.write(PING)
  }

  /** After the answer that is on its way. */
  async end(): Promise<void> {
    this.#ending = true
    await this.#finished
  }

  readonly #onData = (chunk: Buffer): void => {
    const end = this.#received + chunk.length
    if (!this.#expected.subarray(this.#received, end).equals(chunk)) {
      this.#finish?.reject(new Error('an answer has other bytes than it should'))
      return
    }
    this.#received = end
    if (end === this.#expected.length) {
      this.#received = 0
      this.times.push(performance.now() - this.#sent)
      this.#next()
    }
  }

  #next(): void {
    if (this.#ending) {
      this.#socket.off('data', this.#onData)
      this.#socket.off('close', this.#onClose)
      this.#finish?.resolve()
    } else {
      this.begin()
    }
  }

  readonly #onClose = (): void => {
    this.#finish?.reject(new Error('the server closed a session'))
  }
}
