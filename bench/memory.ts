/**
 * What a session that is logged in and does nothing costs in memory, and what is left of it after a
 * lot of data. What matters is what one more session costs: a process that takes logins grows at first, and
 * would with far fewer sessions. Behind the proxies is a process that only pretends to be PostgreSQL: thousands of real
 * backends are too heavy for one machine. Each sample has a proxy of its own, started for it.
 *
 *     npm run bench:memory -- [--rounds 3] [--quick] [--json FILE]
 */
import { Buffer } from 'node:buffer'
import type net from 'node:net'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { findFreePort } from '../src/demo/free-port.ts'
import { type Account, closeSession, openSession, type Route } from './lib/client.ts'
import { type Proxy, startHaproxy, startPgbearer, startPgbouncer } from './lib/contenders.ts'
import { residentKiB } from './lib/cpu-time.ts'
import { AUDIENCE, type Issuer, SCOPE, startIssuer } from './lib/issuer.ts'
import { describeMachine, printMachine } from './lib/machine.ts'
import { query } from './lib/messages.ts'
import { readOptions, writeJson } from './lib/options.ts'
import { pinOurselves, startProgram } from './lib/programs.ts'
import { type Cell, type Contender, runRounds, toJson } from './lib/rounds.ts'
import { printTables } from './lib/table.ts'
import { makeWorkspace, type Workspace } from './lib/workspace.ts'

const options = readOptions(3)
/** In the first ones is what a process grows to under load, whatever the number: its heap for young objects. */
const FIRST_SESSIONS = options.quick ? 100 : 1000
const FURTHER_SESSIONS = options.quick ? 200 : 2000
const SESSIONS = FIRST_SESSIONS + FURTHER_SESSIONS
/** Logged in and out before the count begins: code and tables that every process needs once. */
const WARM_UP_SESSIONS = 100
const AT_ONCE = 16
const SETTLE_MS = 2000
/** To each session: more than any buffer holds. */
const BULK = query('bulk 250')
const BULK_BYTES = 250_000

const ANYBODY: Account = { user: 'bench', database: 'postgres', proof: { kind: 'any' } }

interface Kind {
  readonly name: string
  readonly account: Account
  readonly start: () => Promise<Proxy>
}

async function main(): Promise<void> {
  const machine = describeMachine()
  printMachine(machine)
  pinOurselves()
  const workspace = await makeWorkspace()
  const issuer = await startIssuer(workspace, 'bench', 50)
  const port = await findFreePort()
  const script = fileURLToPath(new URL('./lib/fake-postgres.js', import.meta.url))
  const behind = await startProgram(process.execPath, [script, String(port)], {
    core: 'load',
    port,
  })
  try {
    const kinds = makeKinds(workspace, issuer, port)
    const cells: Cell[] = [false, true].map((tls) => ({
      name: `${SESSIONS} ${tls ? 'TLS' : 'plain'} sessions`,
      contenders: kinds.map((kind) => contender(kind, tls)),
    }))
    const results = await runRounds(cells, options.rounds, { warmUp: false })
    console.log('\nMemory in RAM in KiB for each session, kernel buffers not counted')
    printTables(results, {
      columns: [
        { title: `of the first ${FIRST_SESSIONS}`, figure: 'first', digits: 1, quartiles: true },
        { title: `of ${FURTHER_SESSIONS} more`, figure: 'further', digits: 1, quartiles: true },
        { title: `after ${BULK_BYTES / 1000} kB each`, figure: 'afterBulk', digits: 1 },
        { title: 'closed again', figure: 'closed', digits: 1 },
        { title: 'process alone, MiB', figure: 'base', digits: 1 },
      ],
      ratioOf: 'further',
      references: ['haproxy', 'pgbouncer'],
    })
    await writeJson(options, { machine, sessions: SESSIONS, results: toJson(results) })
  } finally {
    await behind.stop()
    issuer.stop()
  }
}

function makeKinds(
  workspace: Workspace,
  issuer: Issuer & { readonly tokens: readonly string[] },
  upstreamPort: number,
): Kind[] {
  const [token = ''] = issuer.tokens
  const pgbearer: Kind = {
    name: 'pgbearer',
    account: { ...ANYBODY, proof: { kind: 'token', next: () => token } },
    start: () =>
      startPgbearer(workspace, 'pgbearer', {
        upstreamPort,
        hba: `host all bench 127.0.0.1/32 oauth issuer=${issuer.url} scope=${SCOPE}\n`,
        settings: 'oauth_validator_libraries = ["jwt"]',
        tables: `[validators.jwt]
audiences = ["${AUDIENCE}"]
http = { ca = "ca.crt", egress = "any" }`,
      }),
  }
  const others: Kind[] = [
    { name: 'haproxy', account: ANYBODY, start: () => startHaproxy(workspace, upstreamPort) },
    {
      name: 'pgbouncer',
      account: ANYBODY,
      start: () =>
        startPgbouncer(workspace, 'pgbouncer', {
          upstreamPort,
          authType: 'any',
          databases: { postgres: 'bench' },
        }),
    },
  ]
  const { programs } = describeMachine()
  return [pgbearer, ...others.filter(({ name }) => name in programs)]
}

function contender({ name, account, start }: Kind, tls: boolean): Contender {
  return {
    name,
    run: async () => {
      const proxy = await start()
      try {
        return await measure(proxy, routeOf(proxy, tls), account)
      } finally {
        await proxy.stop()
      }
    },
  }
}

function routeOf({ port, tlsPort }: Proxy, tls: boolean): Route {
  if (!tls) {
    return { port, encryption: 'plain' }
  }
  return tlsPort === undefined
    ? { port, encryption: 'tls' }
    : { port: tlsPort, encryption: 'direct-tls' }
}

async function measure(
  { pid }: Proxy,
  route: Route,
  account: Account,
): Promise<Record<string, number>> {
  await Promise.all((await openMany(route, account, WARM_UP_SESSIONS)).map(closeSession))
  await sleep(SETTLE_MS)
  const base = residentKiB(pid)
  const perSession = (): number => (residentKiB(pid) - base) / SESSIONS
  const sessions = await openMany(route, account, FIRST_SESSIONS)
  await sleep(SETTLE_MS)
  const withFirst = residentKiB(pid)
  sessions.push(...(await openMany(route, account, FURTHER_SESSIONS)))
  await sleep(SETTLE_MS)
  const first = (withFirst - base) / FIRST_SESSIONS
  const further = (residentKiB(pid) - withFirst) / FURTHER_SESSIONS
  await atOnce(sessions, readBulk)
  await sleep(SETTLE_MS)
  const afterBulk = perSession()
  await Promise.all(sessions.map(closeSession))
  await sleep(SETTLE_MS)
  return { first, further, afterBulk, closed: perSession(), base: base / 1024 }
}

async function openMany(route: Route, account: Account, count: number): Promise<net.Socket[]> {
  const sessions: net.Socket[] = []
  await atOnce(Array.from({ length: count }), async () => {
    sessions.push(await openSession(route, account))
  })
  return sessions
}

async function atOnce<T>(things: readonly T[], work: (thing: T) => Promise<void>): Promise<void> {
  const left = things.values()
  const worker = async (): Promise<void> => {
    for (const thing of left) {
      await work(thing)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

function readBulk(socket: net.Socket): Promise<void> {
  const end = Buffer.from('SELECT 1\0Z\0\0\0\u0005I', 'latin1')
  return new Promise((resolve, reject) => {
    let tail: Buffer = Buffer.alloc(0)
    const onClose = (): void => reject(new Error('the server closed a session'))
    const onData = (chunk: Buffer): void => {
      tail = Buffer.concat([tail, chunk]).subarray(-end.length)
      if (tail.equals(end)) {
        socket.off('data', onData)
        socket.off('close', onClose)
        resolve()
      }
    }
    socket.on('data', onData)
    socket.once('close', onClose)
    socket.write(BULK)
  })
}

await main()
