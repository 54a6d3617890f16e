/**
 * The workers of one module: as many as wanted, each replaced at once when it ends by itself, until it
 * ends too often; then logins fail fast for a while.
 *
 * @module
 */
import { ValidatorLoadError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { describeThrown } from '../describe-thrown.ts'
import { RemoteFault } from '../validation-outcome.ts'
import { Fence, FENCE_WINDOW_MS } from './fence.ts'
import type { LoadedReport } from './messages.ts'
import { ValidatorWorker, type ValidatorWorkerOptions } from './validator-worker.ts'

/** What a pool is made of. */
export interface WorkerPoolOptions {
  readonly size: number
  readonly worker: Omit<ValidatorWorkerOptions, 'listener'>
  readonly listener: Omit<ValidatorWorkerOptions['listener'], 'onEnd'>
  /** Already names the module. */
  readonly log: Log
  /** Takes tokens out of a text that a module has had its hands on. */
  readonly scrub: (text: string) => string
}

/** Runs one module in workers. */
export class WorkerPool {
  readonly #options: WorkerPoolOptions
  readonly #workers = new Set<ValidatorWorker>()
  readonly #fence = new Fence()
  #total = 0
  #closed = false
  /** Set when the files hold another version than the one that the pool was opened with. */
  #outdated: string | undefined

  constructor(options: WorkerPoolOptions) {
    this.#options = options
  }

  /**
   * Starts the workers.
   *
   * @throws ValidatorLoadError when the module cannot be loaded; nothing is left running then.
   */
  async open(): Promise<LoadedReport> {
    const workers = Array.from({ length: this.#options.size }, () => this.#spawn())
    try {
      const [report] = await Promise.all(workers.map(({ ready }) => ready))
      return report ?? { startup: false, shutdown: false }
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /**
   * The worker with the fewest connections, when its module is loaded.
   *
   * @throws RemoteFault when the module is fenced off, or its new worker cannot load it.
   */
  async pick(): Promise<ValidatorWorker> {
    const [first, ...others] = this.#workers
    const least = others.reduce<ValidatorWorker | undefined>(
      (best, worker) =>
        best !== undefined && best.connections <= worker.connections ? best : worker,
      first,
    )
    const worker = least ?? this.#retry()
    await worker.ready.catch((error: unknown) => {
      throw asFault(error)
    })
    return worker
  }

  /** Ends all workers. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(Array.from(this.#workers, (worker) => worker.terminate('it was ended')))
  }

  /** The workers that there are now. */
  get workers(): readonly ValidatorWorker[] {
    return [...this.#workers]
  }

  #retry(): ValidatorWorker {
    if (this.#closed) {
      throw new RemoteFault(
        'fenced',
        'its workers have been ended with the settings they belong to',
      )
    }
    if (this.#outdated !== undefined) {
      throw new RemoteFault('fenced', this.#outdated)
    }
    const { leftMs, recently } = this.#fence
    if (leftMs > 0) {
      throw new RemoteFault(
        'fenced',
        `its workers ended ${recently} times in ${FENCE_WINDOW_MS / 1000} s, ` +
          `the next try is in ${Math.ceil(leftMs / 1000)} s`,
      )
    }
    return this.#spawn()
  }

  #spawn(): ValidatorWorker {
    const worker = new ValidatorWorker({
      ...this.#options.worker,
      listener: {
        ...this.#options.listener,
        onEnd: (ended, why) => this.#replace(ended, why),
      },
    })
    this.#workers.add(worker)
    worker.ready.catch((error: unknown) => this.#noteOutdated(error))
    return worker
  }

  // A newer version begins with the settings that are loaded with it, and with new connections only.
  #noteOutdated(error: unknown): void {
    if (error instanceof ValidatorLoadError && error.reason === 'changed' && !this.#closed) {
      this.#outdated ??= error.message
    }
  }

  #replace(worker: ValidatorWorker, why: string): void {
    this.#workers.delete(worker)
    if (this.#closed) {
      return
    }
    this.#total += 1
    const fenced = this.#fence.noteEnd()
    this.#options.log.warning('worker of OAuth validator module ended', {
      detail: this.#options.scrub(why),
      times: this.#total,
      recently: this.#fence.recently,
      fenced: fenced || this.#outdated !== undefined,
    })
    if (this.#outdated === undefined && !fenced) {
      this.#spawn()
    }
  }
}

function asFault(error: unknown): RemoteFault {
  const isOutdated = error instanceof ValidatorLoadError && error.reason === 'changed'
  return new RemoteFault(isOutdated ? 'fenced' : 'crashed', describeThrown(error))
}
