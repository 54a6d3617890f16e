/**
 * Which thread gets a core first where there are too few. Linux keeps a nice value for each thread (setpriority(2), "C
 * library/kernel differences"); elsewhere it belongs to the process, and stays as it is.
 *
 * @module
 */
import { getPriority, setPriority } from 'node:os'

/** How much nicer a worker is than the thread that serves all connections. */
export const WORKER_NICENESS = 10
const NICEST = 19
const THIS_THREAD = 0

/** Lowers the priority of the thread that calls it. Does nothing where that cannot be done. */
export function lowerThisThread(by: number = WORKER_NICENESS): void {
  if (process.platform !== 'linux') {
    return
  }
  try {
    setPriority(THIS_THREAD, Math.min(NICEST, getPriority(THIS_THREAD) + by))
  } catch {
    // A sandbox may forbid it: then all threads are equal, as before.
  }
}
