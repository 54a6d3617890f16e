/**
 * One worker thread with one module in it, seen from the host: calls and their answers, and its end,
 * however it comes: an exit, an uncaught error, no memory left, or a loop that never lets go.
 *
 * @module
 */
import type { EventLoopUtilization } from 'node:perf_hooks'
import type { Readable } from 'node:stream'
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  type ResourceLimits,
  Worker,
} from 'node:worker_threads'
import { ValidatorLoadError, type ValidatorLoadReason } from '../../errors.ts'
import { describeThrown } from '../describe-thrown.ts'
import { RemoteFault } from '../validation-outcome.ts'
import type { FromWorker, LoadedReport, ToWorker, WorkerStart } from './messages.ts'
import { Outbox } from './outbox.ts'

/** How often a worker that has calls to answer is asked whether it is still there. */
export const HEARTBEAT_MS = 500
/** After so many heartbeats without an answer it is taken to be in a loop, and ended. */
export const MISSED_HEARTBEATS = 4
/** The part of the time between two heartbeats from which on a worker did nothing but compute. */
const BUSY = 0.9

/** What a worker is made of. */
export interface ValidatorWorkerOptions {
  /** The compiled `worker-main`. */
  readonly entry: URL
  readonly start: Omit<WorkerStart, 'port'>
  readonly resourceLimits: ResourceLimits
  readonly listener: WorkerListener
}

/** Who hears of what a worker does by itself. */
export interface WorkerListener {
  onLog(message: Extract<FromWorker, { readonly op: 'log' }>): void
  /** A promise rejected and nobody handled it. */
  onStray(detail: string): void
  /** Something was written to stdout or stderr; it may hold a token. */
  onOutput(text: string): void
  /** So many lines of what it wrote were dropped. */
  onDropped(lines: number): void
  /** Once. `why` may hold a token. */
  onEnd(worker: ValidatorWorker, why: string): void
}

type Numbered<Message> = Message extends { readonly call: number } ? Omit<Message, 'call'> : never
interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (fault: RemoteFault) => void
}

/** A running worker. */
export class ValidatorWorker {
  /** Settles when the module is loaded, or cannot be: a ValidatorLoadError. */
  readonly ready: Promise<LoadedReport>
  /** Connections whose state lives here. */
  connections = 0
  readonly #name: string
  readonly #worker: Worker
  readonly #port: MessagePort
  readonly #outbox: Outbox<ToWorker>
  readonly #listener: WorkerListener
  readonly #pending = new Map<number, Pending>()
  #loading: { resolve: (report: LoadedReport) => void; reject: (error: Error) => void } | undefined
  #calls = 0
  #heartbeat: NodeJS.Timeout | undefined
  #missed = 0
  /** Heartbeats in a row through which it computed and answered nobody. */
  #fruitless = 0
  #utilization: EventLoopUtilization | undefined
  #why: string | undefined
  #ended = false

  constructor(options: ValidatorWorkerOptions) {
    const { port1, port2 } = new MessageChannel()
    this.#name = options.start.name
    this.#port = port1
    this.#outbox = new Outbox(port1)
    this.#listener = options.listener
    this.ready = new Promise((resolve, reject) => {
      this.#loading = { resolve, reject }
    })
    this.ready.catch(() => {})
    this.#worker = new Worker(options.entry, {
      workerData: { ...options.start, port: port2 },
      transferList: [port2],
      resourceLimits: options.resourceLimits,
      stdout: true,
      stderr: true,
      name: `pgbearer ${this.#name}`.slice(0, 60),
    })
    // The port, and not the thread, keeps the process alive: while there is an answer to wait for.
    this.#worker.unref()
    this.#port.on('message', (messages: readonly FromWorker[]) => this.#hearAll(messages))
    this.#worker.on('error', (error) => {
      this.#why ??= describeEnd(error)
    })
    this.#worker.on('exit', (code) => {
      this.#hearOut()
      this.#end(this.#why ?? `it exited with code ${code}`)
    })
    this.#watch(this.#worker.stdout)
    this.#watch(this.#worker.stderr)
    this.#listenForLife()
  }

  /** Asks for something. Rejects with a RemoteFault when the module fails or the worker ends. */
  call(message: Numbered<ToWorker>): Promise<unknown> {
    if (this.#ended) {
      return Promise.reject(new RemoteFault('crashed', `its worker has ended: ${this.#why ?? ''}`))
    }
    this.#calls += 1
    const call = this.#calls
    return new Promise((resolve, reject) => {
      this.#pending.set(call, { resolve, reject })
      if (this.#pending.size === 1) {
        this.#port.ref()
        this.#listenForLife()
      }
      this.#outbox.put({ ...message, call })
    })
  }

  /** Says something that has no answer. */
  tell(message: Exclude<ToWorker, { readonly call: number }>): void {
    if (!this.#ended) {
      this.#outbox.put(message)
    }
  }

  /** Ends the thread, whatever it does. */
  async terminate(why: string): Promise<void> {
    this.#why ??= why
    await this.#worker.terminate()
    this.#end(why)
  }

  #hearAll(messages: readonly FromWorker[]): void {
    for (const message of messages) {
      this.#hear(message)
    }
  }

  // The end of a thread can overtake what it said last.
  #hearOut(): void {
    let received = receiveMessageOnPort(this.#port)
    while (received !== undefined) {
      this.#hearAll(received.message as readonly FromWorker[])
      received = receiveMessageOnPort(this.#port)
    }
  }

  #hear(message: FromWorker): void {
    this.#missed = 0
    switch (message.op) {
      case 'answer':
        this.#settle(message.call)?.resolve(message.value)
        return
      case 'fault':
        this.#settle(message.call)?.reject(new RemoteFault('threw', message.detail))
        return
      case 'loaded':
        this.#loading?.resolve(message.report)
        this.#loading = undefined
        this.#rest()
        return
      case 'load_failed':
        this.#why ??= message.message
        this.#failLoading(message.message, message.reason as ValidatorLoadReason)
        void this.terminate(message.message)
        return
      case 'log':
        this.#listener.onLog(message)
        return
      case 'stray':
        this.#listener.onStray(message.detail)
        return
      case 'dropped':
        this.#listener.onDropped(message.lines)
        return
      case 'pong':
    }
  }

  #settle(call: number): Pending | undefined {
    const pending = this.#pending.get(call)
    this.#pending.delete(call)
    this.#fruitless = 0
    this.#rest()
    return pending
  }

  #failLoading(message: string, reason: ValidatorLoadReason): void {
    this.#loading?.reject(new ValidatorLoadError(message, { validator: this.#name, reason }))
    this.#loading = undefined
  }

  #end(why: string): void {
    if (this.#ended) {
      return
    }
    this.#ended = true
    this.#why ??= why
    clearInterval(this.#heartbeat)
    this.#port.close()
    this.#failLoading(
      `could not load OAuth validator module "${this.#name}": its worker ended: ${why}`,
      'not_loadable',
    )
    for (const { reject } of this.#pending.values()) {
      reject(new RemoteFault('crashed', `its worker ended: ${why}`))
    }
    this.#pending.clear()
    this.#listener.onEnd(this, why)
  }

  // Counts heartbeats and not time: a host that was busy itself must not blame its worker.
  #listenForLife(): void {
    this.#missed = 0
    this.#fruitless = 0
    this.#utilization = undefined
    this.#heartbeat ??= setInterval(() => this.#beat(), HEARTBEAT_MS)
    this.#heartbeat.unref()
  }

  #beat(): void {
    if (this.#loading !== undefined) {
      return
    }
    this.#missed += 1
    this.#fruitless = this.#wasBusy() ? this.#fruitless + 1 : 0
    const seconds = (MISSED_HEARTBEATS * HEARTBEAT_MS) / 1000
    if (this.#missed > MISSED_HEARTBEATS) {
      void this.terminate(`it did not react for ${seconds} s`)
      return
    }
    // A loop that lets others in between is still a loop.
    if (this.#fruitless > MISSED_HEARTBEATS) {
      void this.terminate(`it computed for ${seconds} s and answered nobody`)
      return
    }
    this.#outbox.put({ op: 'ping' })
  }

  #wasBusy(): boolean {
    const { performance } = this.#worker
    const before = this.#utilization
    this.#utilization = performance.eventLoopUtilization()
    return performance.eventLoopUtilization(this.#utilization, before).utilization > BUSY
  }

  #rest(): void {
    if (this.#pending.size === 0 && this.#loading === undefined) {
      this.#port.unref()
      clearInterval(this.#heartbeat)
      this.#heartbeat = undefined
    }
  }

  #watch(stream: Readable): void {
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => this.#listener.onOutput(text))
  }
}

function describeEnd(error: Error): string {
  return 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
    ? 'it ran out of memory'
    : `it threw: ${describeThrown(error)}`
}
