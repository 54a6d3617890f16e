/** Logging in, again and again. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Account, closeSession, openSession, type Route } from './client.ts'
import { quantile } from './statistics.ts'

export interface LoginOptions {
  readonly route: Route
  readonly account: Account
  /** How many log in at the same time. */
  readonly clients: number
  readonly warmUpMs: number
  readonly measuredMs: number
  /** CPU of the contender so far, in µs. */
  readonly cpu: () => number
}

export interface LoginResult {
  readonly logins: number
  readonly perSecond: number
  /** CPU µs of the contender for each login, with the end of the session. */
  readonly cpu: number
  /** From the first packet to ReadyForQuery, in ms. */
  readonly p50: number
  readonly p99: number
}

/** Each client logs in, terminates, waits until the server has closed, and begins again. */
export async function logInRepeatedly({
  route,
  account,
  clients,
  warmUpMs,
  measuredMs,
  cpu,
}: LoginOptions): Promise<LoginResult> {
  const times: number[] = []
  const over = new AbortController()
  const client = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const begun = performance.now()
      const socket = await openSession(route, account)
      const time = performance.now() - begun
      await closeSession(socket)
      times.push(time)
    }
  }
  const all = Promise.all(Array.from({ length: clients }, client))
  await Promise.race([sleep(warmUpMs), all])
  times.length = 0
  const cpuBefore = cpu()
  const begun = performance.now()
  await Promise.race([sleep(measuredMs), all])
  const seconds = (performance.now() - begun) / 1000
  const cpuSpent = cpu() - cpuBefore
  const counted = [...times]
  over.abort()
  await all
  return {
    logins: counted.length,
    perSecond: counted.length / seconds,
    cpu: cpuSpent / counted.length,
    p50: quantile(counted, 0.5),
    p99: quantile(counted, 0.99),
  }
}
