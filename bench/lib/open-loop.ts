/** Logging in at a steady rate, whether or not earlier logins have come back. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Account, closeSession, openSession, type Route } from './client.ts'
import { quantile } from './statistics.ts'

export interface SteadyOptions {
  readonly route: Route
  readonly account: Account
  /** Between the beginnings of two logins. */
  readonly everyMs: number
  readonly forMs: number
}

export interface SteadyResult {
  readonly logins: number
  /** Refused, or closed by the other side. */
  readonly lost: number
  /** From connecting to ReadyForQuery, in ms. */
  readonly p50: number
  readonly p99: number
  readonly longest: number
}

/** A login that takes longer is lost. */
const LOST_MS = 20_000

/** Logs in and out; waits for the last one. */
export async function logInSteadily({
  route,
  account,
  everyMs,
  forMs,
}: SteadyOptions): Promise<SteadyResult> {
  const times: number[] = []
  let lost = 0
  const login = async (): Promise<void> => {
    const begun = performance.now()
    try {
      const socket = await within(openSession(route, account))
      times.push(performance.now() - begun)
      await closeSession(socket)
    } catch (error) {
      lost += 1
      console.log(`LOST: ${String(error)}`)
    }
  }
  const under: Promise<void>[] = []
  const begun = performance.now()
  for (let next = 0; next < forMs; next += everyMs) {
    await sleep(Math.max(0, begun + next - performance.now()))
    under.push(login())
  }
  await Promise.all(under)
  return {
    logins: times.length,
    lost,
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    longest: Math.max(...times),
  }
}

function within<T>(work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not within ${LOST_MS} ms`)), LOST_MS)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
