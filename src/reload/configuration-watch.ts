/**
 * The files of the configuration, watched where `reload_on_change` says so.
 *
 * @module
 */
import { collectFiles } from '../config/files-read.ts'
import type { Log } from '../log.ts'
import { FileWatch } from './file-watch.ts'
import { logReload } from './log-reload.ts'

/** A change takes effect after one to two of these, in ms. */
const WATCH_INTERVAL = 500

/** Remembers what loads have looked at. Loads come one after the other. */
export class ConfigurationWatch {
  readonly #watch: FileWatch
  #reload: (files: readonly string[]) => Promise<void> = async () => {}
  #files: ReadonlySet<string> = new Set()

  constructor() {
    this.#watch = new FileWatch({
      intervalMs: WATCH_INTERVAL,
      onChange: (files) => this.#reload(files),
    })
  }

  /**
   * Runs a load. Whatever it has looked at counts from now on; after one that fails, also what counted before:
   * what is mended next may be either.
   */
  async load<T>(work: () => Promise<T>): Promise<T> {
    const before = await this.#watch.beforeLoad()
    const files = new Set<string>()
    try {
      const loaded = await collectFiles(files, work)
      this.#files = files
      return loaded
    } catch (error) {
      this.#files = new Set([...this.#files, ...files])
      throw error
    } finally {
      await this.#watch.loaded(this.#files, before)
    }
  }

  /** From now on a change reloads `server`. */
  start(server: { readonly reload: () => Promise<void> }, log: Log): void {
    this.#reload = async (files) => {
      log.log('configuration files have changed', { files })
      await logReload(server, log)
    }
    this.#watch.start()
  }

  stop(): void {
    this.#watch.stop()
  }
}
