/** What a process has cost so far, from `/proc`. Linux only. @module */
import { readdirSync, readFileSync } from 'node:fs'

/**
 * Run time of all threads of a process in µs: also of garbage collection, of compilers and of the
 * thread pool. Threads that have ended are not in it.
 */
export function cpuMicroseconds(pid: number): number {
  let nanoseconds = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(
      readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0],
    )
  }
  return nanoseconds / 1000
}

const TICK_MICROSECONDS = 10_000

/** Time of the children that a process has waited for, in µs; counted in clock ticks of 10 ms. */
export function childrenCpuMicroseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // Fields 16 and 17 of proc(5), `cutime` and `cstime`; the name before them may have spaces in it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[13]) + Number(fields[14])) * TICK_MICROSECONDS
}

/** Memory that is in RAM, in KiB. */
export function residentKiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1])
}
