/**
 * Which files a load has looked at, whether or not they were there: when one of them changes, another load
 * may come to something else.
 *
 * Files are read in many places; they leave a note here instead of handing names up through all of them.
 *
 * @module
 */
import { AsyncLocalStorage } from 'node:async_hooks'

const notes = new AsyncLocalStorage<Set<string>>()

/** Leaves a note of a file or directory, by its absolute path, where somebody collects them. */
export function noteFile(path: string): void {
  notes.getStore()?.add(path)
}

/** Runs `work`; `files` gets the files that it looks at, also where it fails. */
export async function collectFiles<T>(files: Set<string>, work: () => Promise<T>): Promise<T> {
  collecting += 1
  try {
    return await notes.run(files, work)
  } finally {
    collecting -= 1
    if (collecting === 0) {
      // Left on, it would follow every promise of every login: a tenth of what a login costs.
      notes.disable()
    }
  }
}

let collecting = 0
