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
  const all = loop({ route, account, clients }, over.signal, (ms) => times.push(ms))
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

/** Logs in until it has been done so many times, or for so long. */
export async function warmUpLogins(
  target: Pick<LoginOptions, 'route' | 'account' | 'clients'>,
  { logins, longestMs }: { readonly logins: number; readonly longestMs: number },
): Promise<void> {
  const over = new AbortController()
  const timer = setTimeout(() => over.abort(), longestMs)
  let done = 0
  await loop(target, over.signal, () => {
    done += 1
    if (done >= logins) {
      over.abort()
    }
  })
  clearTimeout(timer)
}

async function loop(
  { route, account, clients }: Pick<LoginOptions, 'route' | 'account' | 'clients'>,
  over: AbortSignal,
  loggedIn: (ms: number) => void,
): Promise<void> {
  const client = async (): Promise<void> => {
    while (!over.aborted) {
      const begun = performance.now()
      const socket = await openSession(route, account)
      const ms = performance.now() - begun
      await closeSession(socket)
      loggedIn(ms)
    }
  }
  await Promise.all(Array.from({ length: clients }, client))
}
