/** Says the same bytes to any server, and writes down what it answers so that two can be compared. */
import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'

/** Bytes to send, or a handshake, for which the server has just said `S`: perhaps with a certificate. */
export type Step = Uint8Array | 'tls' | { readonly certificateOf: string }

/** The certificate and key of somebody, as PEM. */
export type Certificates = Readonly<Record<string, { readonly cert: string; readonly key: string }>>

export interface Answer {
  /** A line for each message. */
  readonly lines: readonly string[]
  /** The client's port, which finds the lines in a log. */
  readonly port: number
}

export interface Patience {
  /** Silence that counts as the end of an answer, in ms. */
  readonly quiet: number
  /** How long the first byte of an answer may take, in ms. */
  readonly first: number
}

const CLOSE_MS = 10_000

/**
 * Sends each step and waits for the answer to it. Where the server is still there at the end, the client
 * ends its side, or a session that is ready with Terminate.
 */
export async function converse(
  port: number,
  steps: readonly Step[],
  patience: Patience,
  certificates: Certificates = {},
): Promise<Answer> {
  const talk = await Talk.start(port)
  try {
    for (const step of steps) {
      if (step === 'tls') {
        await talk.handshake()
      } else if ('certificateOf' in step) {
        await talk.handshake(certificates[step.certificateOf])
      } else {
        talk.socket.write(step)
        await talk.quiet(patience)
      }
      if (talk.isReady) {
        break
      }
    }
    if (talk.isReady) {
      talk.socket.end(Buffer.from('X\0\0\0\u0004', 'latin1'))
    } else {
      talk.socket.end()
    }
    await talk.closed()
    return { lines: talk.lines(), port: talk.port }
  } finally {
    talk.socket.destroy()
  }
}

class Talk {
  static async start(port: number): Promise<Talk> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new Talk(socket)
  }

  socket: Socket
  readonly port: number
  #before: string[] = []
  #received = Buffer.alloc(0)
  #closed = false

  constructor(socket: Socket) {
    this.socket = socket
    this.port = socket.localPort ?? 0
    this.#listen(socket)
  }

  get isReady(): boolean {
    return this.#received.subarray(-6).equals(Buffer.from('Z\0\0\0\u0005I', 'latin1'))
  }

  async handshake(own?: Certificates[string]): Promise<void> {
    this.#before = this.lines()
    this.#received = Buffer.alloc(0)
    const plain = this.socket
    plain.removeAllListeners()
    const socket = connectTls({
      ...own,
      socket: plain,
      rejectUnauthorized: false,
      ALPNProtocols: ['postgresql'],
    })
    this.socket = socket
    this.#listen(socket)
    await new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('close', () => reject(new Error('closed in the TLS handshake')))
    })
  }

  async quiet({ quiet, first }: Patience): Promise<void> {
    const STEP_MS = 5
    const start = this.#received.length
    for (let waited = 0; waited < first && this.#received.length === start; waited += STEP_MS) {
      if (this.#closed) {
        return
      }
      await sleep(STEP_MS)
    }
    for (let size = start; size !== this.#received.length && !this.#closed && !this.isReady; ) {
      size = this.#received.length
      await sleep(quiet)
    }
  }

  async closed(): Promise<void> {
    const STEP_MS = 5
    for (let waited = 0; !this.#closed; waited += STEP_MS) {
      if (waited > CLOSE_MS) {
        throw new Error(`the server does not close; it said ${this.lines().join(' | ')}`)
      }
      await sleep(STEP_MS)
    }
  }

  lines(): string[] {
    return [...this.#before, ...describeMessages(this.#received)]
  }

  #listen(socket: Socket): void {
    const close = (): void => {
      this.#closed = true
    }
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
    })
    socket.on('end', close)
    socket.on('close', close)
    socket.on('error', () => {})
  }
}

/** Messages as text, without what no two servers have alike: places in the source, and keys. */
function describeMessages(received: Buffer): string[] {
  const lines: string[] = []
  let at = 0
  // The answer to SSLRequest or GSSENCRequest; a message would go on with a length word.
  while (
    received.length > at &&
    /[SNG]/.test(received.toString('latin1', at, at + 1)) &&
    received[at + 1] !== 0
  ) {
    lines.push(received.toString('latin1', at, at + 1))
    at += 1
  }
  while (at < received.length) {
    const length = at + 5 <= received.length ? received.readUInt32BE(at + 1) : 0
    const end = at + 1 + length
    if (length < 4 || end > received.length) {
      lines.push(`bytes ${show(received.subarray(at))}`)
      break
    }
    lines.push(
      describeMessage(received.toString('latin1', at, at + 1), received.subarray(at + 5, end)),
    )
    at = end
  }
  return lines
}

function describeMessage(type: string, body: Buffer): string {
  switch (type) {
    case 'E':
    case 'N':
      return `${type} ${show(withoutPlace(body))}`
    case 'K':
      return `K with a key of ${body.length - 4} bytes`
    default:
      return `${type} ${show(body)}`
  }
}

// Fields F, L and R: file, line and routine of PostgreSQL's source.
function withoutPlace(body: Buffer): Buffer {
  const fields = body.toString('latin1').split('\0')
  return Buffer.from(fields.filter((field) => !/^[FLR]/.test(field)).join('\0'), 'latin1')
}

function show(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('latin1'))
}
