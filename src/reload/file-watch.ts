/**
 * Files that are watched for changes.
 *
 * They are looked at by name at an interval. Events of the system would be sooner, but an editor puts another
 * file in place, Kubernetes swaps a symbolic link two directories above, network file systems send no events,
 * and a file that is not there yet has none; a look at the name sees all of these.
 *
 * @module
 */
import { stat } from 'node:fs/promises'

/** A file as it was: what a change of it would change. */
type Look = string

export type Looks = ReadonlyMap<string, Look>

export interface FileWatchOptions {
  /** Between two looks, in ms. A change counts when nothing has changed further from one to the next. */
  readonly intervalMs: number
  /** Called with the files that have changed. The next look comes after it. */
  readonly onChange: (files: readonly string[]) => Promise<void>
}

/** The system stamps files by a clock that may be so far behind ours, in ms. */
const CLOCK_TICK_MS = 20

/** Watches the files that the last load has looked at. */
export class FileWatch {
  readonly #options: FileWatchOptions
  #known = new Map<string, Look>()
  #unsettled: Looks | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = true

  constructor(options: FileWatchOptions) {
    this.#options = options
  }

  /** The files as they are before a load, for `loaded()`. */
  async beforeLoad(): Promise<{ readonly at: number; readonly looks: Looks }> {
    return { at: Date.now(), looks: await lookAt(this.#known.keys()) }
  }

  /**
   * From now on these files count, as they were before the load: what was written while they were read is a
   * change. Of a file that is new here, the time says whether it was.
   */
  async loaded(
    files: Iterable<string>,
    { at, looks }: Awaited<ReturnType<FileWatch['beforeLoad']>>,
  ): Promise<void> {
    const known = new Map<string, Look>()
    for (const [file, look] of await lookAt(files)) {
      const before = looks.get(file)
      known.set(file, before ?? (changeTime(look) < at - CLOCK_TICK_MS ? look : 'changed'))
    }
    this.#known = known
    this.#unsettled = undefined
  }

  start(): void {
    if (this.#stopped) {
      this.#stopped = false
      this.#wait()
    }
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #wait(): void {
    this.#timer = setTimeout(() => void this.#look(), this.#options.intervalMs).unref()
  }

  async #look(): Promise<void> {
    const known = this.#known
    const now = await lookAt(known.keys())
    // A load may have come in between.
    if (known === this.#known && !this.#stopped) {
      await this.#compare(now)
    }
    if (!this.#stopped) {
      this.#wait()
    }
  }

  async #compare(now: Looks): Promise<void> {
    const changed = differences(this.#known, now)
    if (changed.length === 0) {
      this.#unsettled = undefined
      return
    }
    const settled = this.#unsettled !== undefined && differences(this.#unsettled, now).length === 0
    this.#unsettled = now
    if (settled) {
      await this.#options.onChange(changed)
    }
  }
}

function differences(before: Looks, now: Looks): string[] {
  return [...now].filter(([file, look]) => before.get(file) !== look).map(([file]) => file)
}

async function lookAt(files: Iterable<string>): Promise<Looks> {
  const looks = [...files].map(async (file) => [file, await look(file)] as const)
  return new Map(await Promise.all(looks))
}

/** Follows symbolic links. Of a directory this changes with the names in it. */
async function look(file: string): Promise<Look> {
  try {
    const { dev, ino, size, mode, mtimeNs, ctimeNs } = await stat(file, { bigint: true })
    return [ctimeNs, mtimeNs, dev, ino, size, mode].join(' ')
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unreadable'
  }
}

/** When it last changed, in ms since 1970; never, where there is no file. */
function changeTime(look: Look): number {
  const nanoseconds = look.split(' ', 1)[0] ?? ''
  return /^\d+$/.test(nanoseconds) ? Number(BigInt(nanoseconds) / 1_000_000n) : 0
}
