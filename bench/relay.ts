/**
 * What passing bytes on costs: CPU of the proxy for each round trip and for each GB, plain and with TLS
 * to the client, beside HAProxy and PgBouncer in the same rounds, all in front of one PostgreSQL.
 *
 *     npm run bench:relay -- [--rounds 7] [--quick] [--only tls] [--json FILE]
 */
import type { Buffer } from 'node:buffer'
import type net from 'node:net'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../src/demo/embedded-postgres.ts'
import {
  bulkQuery,
  CREATE_TABLE,
  checkStream,
  recordStream,
  type Stream,
  TABLE_BYTES,
} from './lib/bulk.ts'
import { type Account, closeSession, openSession, type Route } from './lib/client.ts'
import { type Proxy, startHaproxy, startPgbearer, startPgbouncer } from './lib/contenders.ts'
import { cpuMicroseconds } from './lib/cpu-time.ts'
import { describeMachine, printMachine } from './lib/machine.ts'
import { readOptions, writeJson } from './lib/options.ts'
import { PING, pingPong, readAnswer } from './lib/ping-pong.ts'
import { pinOurselves, pinToLoad } from './lib/programs.ts'
import { type Cell, type Contender, type Results, runRounds, toJson } from './lib/rounds.ts'
import { printTables } from './lib/table.ts'
import { makeWorkspace, type Workspace } from './lib/workspace.ts'

const ACCOUNT: Account = { user: 'bench', database: 'postgres', proof: { kind: 'any' } }
const CONNECTIONS = [8, 64]
const STREAMS = [1, 8]
const GB = 1e9

/** Somebody who can be reached, and whose CPU can be read; PostgreSQL itself has many processes. */
interface Target {
  readonly name: string
  readonly route: (tls: boolean) => Route
  readonly pid: number | undefined
}

const options = readOptions(7)
const samples = options.quick
  ? { warmUpMs: 200, measuredMs: 500, bulkTimes: 1 }
  : { warmUpMs: 500, measuredMs: 1500, bulkTimes: 8 }

async function main(): Promise<void> {
  const workspace = await makeWorkspace()
  const machine = describeMachine()
  printMachine(machine)
  const postgres = await startEmbeddedPostgres({
    hba: 'host all all 127.0.0.1/32 trust',
    ssl: workspace.certificate,
    settings: { max_connections: 400, shared_buffers: '256MB', synchronize_seqscans: false },
  })
  const proxies: Proxy[] = []
  try {
    await postgres.query('create role bench login')
    for (const statement of CREATE_TABLE.split(';')) {
      await postgres.query(statement, undefined, 'postgres')
    }
    pinOurselves()
    pinToLoad(postgres.pid)
    const targets = await startTargets(workspace, postgres, proxies)
    const results = await runRounds(await makeCells(postgres, targets), options.rounds)
    print(results)
    await writeJson(options, { machine, rounds: options.rounds, results: toJson(results) })
  } finally {
    await Promise.all(proxies.map((proxy) => proxy.stop()))
    await postgres.stop()
  }
}

async function startTargets(
  workspace: Workspace,
  { port }: EmbeddedPostgres,
  proxies: Proxy[],
): Promise<Target[]> {
  const { programs } = describeMachine()
  const targets: Target[] = []
  const add = (name: string, proxy: Proxy): void => {
    proxies.push(proxy)
    targets.push({ name, pid: proxy.pid, route: (tls) => routeOf(proxy, tls) })
  }
  add(
    'pgbearer',
    await startPgbearer(workspace, 'pgbearer', {
      upstreamPort: port,
      hba: 'host all bench 127.0.0.1/32 trust\n',
    }),
  )
  if ('haproxy' in programs) {
    add('haproxy', await startHaproxy(workspace, port))
  }
  if ('pgbouncer' in programs) {
    const pgbouncer = {
      upstreamPort: port,
      authType: 'any',
      databases: { postgres: 'bench' },
    } as const
    add('pgbouncer', await startPgbouncer(workspace, 'pgbouncer', pgbouncer))
    add(
      'pgbouncer, pkt_buf=65536',
      await startPgbouncer(workspace, 'pgbouncer-64k', { ...pgbouncer, packetBuffer: 65_536 }),
    )
  }
  const direct = (tls: boolean): Route => ({ port, encryption: tls ? 'tls' : 'plain' })
  targets.push({ name: 'PostgreSQL directly', pid: undefined, route: direct })
  return targets
}

function routeOf({ port, tlsPort }: Proxy, tls: boolean): Route {
  if (!tls) {
    return { port, encryption: 'plain' }
  }
  return tlsPort === undefined
    ? { port, encryption: 'tls' }
    : { port: tlsPort, encryption: 'direct-tls' }
}

async function makeCells(
  { port }: EmbeddedPostgres,
  targets: readonly Target[],
): Promise<readonly Cell[]> {
  const direct = await openSession({ port, encryption: 'plain' }, ACCOUNT)
  const answer = await readAnswer(direct, PING)
  const cells: Cell[] = []
  for (const tls of [false, true]) {
    const encryption = tls ? 'TLS' : 'plain'
    for (const count of CONNECTIONS) {
      cells.push({
        name: `${encryption} ping-pong, ${count} connections`,
        contenders: targets.map((target) => pingPongContender(target, { tls, count, answer })),
      })
    }
    for (const count of STREAMS) {
      const times = Math.max(1, samples.bulkTimes / count)
      const stream = await recordStream(direct, bulkQuery(times))
      cells.push({
        name: `${encryption} bulk, ${count} ${count === 1 ? 'stream' : 'streams'}`,
        contenders: targets.map((target) => bulkContender(target, { tls, count, stream })),
      })
    }
  }
  await closeSession(direct)
  const wanted = options.only
  return wanted === undefined ? cells : cells.filter(({ name }) => name.includes(wanted))
}

function pingPongContender(
  target: Target,
  { tls, count, answer }: { tls: boolean; count: number; answer: Buffer },
): Contender {
  return {
    name: target.name,
    run: () =>
      withSessions(target.route(tls), count, async (sessions) => {
        const result = await pingPong(sessions, {
          ...samples,
          expected: answer,
          cpu: () => cpuOf(target),
        })
        return { ...result }
      }),
  }
}

function bulkContender(
  target: Target,
  { tls, count, stream }: { tls: boolean; count: number; stream: Stream },
): Contender {
  return {
    name: target.name,
    run: () =>
      withSessions(target.route(tls), count, async (sessions) => {
        // The first copy makes buffers grow and code hot.
        await checkStream(sessions[0] as net.Socket, stream)
        const cpuBefore = cpuOf(target)
        const begun = performance.now()
        await Promise.all(sessions.map((socket) => checkStream(socket, stream)))
        const bytes = stream.length * count
        return {
          bytes,
          cpu: ((cpuOf(target) - cpuBefore) / 1e6 / bytes) * GB,
          mbPerSecond: bytes / 1000 / (performance.now() - begun),
        }
      }),
  }
}

function cpuOf({ pid }: Target): number {
  return pid === undefined ? NaN : cpuMicroseconds(pid)
}

async function withSessions<T>(
  route: Route,
  count: number,
  work: (sessions: readonly net.Socket[]) => Promise<T>,
): Promise<T> {
  const sessions: net.Socket[] = []
  try {
    for (let i = 0; i < count; i += 1) {
      sessions.push(await openSession(route, ACCOUNT))
    }
    return await work(sessions)
  } finally {
    await Promise.all(sessions.map(closeSession))
  }
}

function print(results: Results): void {
  const references = ['haproxy', 'pgbouncer', 'pgbouncer, pkt_buf=65536']
  const part = (word: string): Results =>
    new Map([...results].filter(([cell]) => cell.includes(word)))
  console.log('\nCPU of the proxy in µs for each round trip, and what the client saw')
  printTables(part('ping-pong'), {
    columns: [
      { title: 'CPU µs', figure: 'cpu', digits: 1, quartiles: true },
      { title: 'per second', figure: 'perSecond' },
      { title: 'p50 µs', figure: 'p50' },
      { title: 'p99 µs', figure: 'p99' },
    ],
    ratioOf: 'cpu',
    references,
  })
  const megabytes = Math.round((TABLE_BYTES * samples.bulkTimes) / 1e6)
  console.log(`\nCPU of the proxy in s for each GB (10^9 bytes), samples of about ${megabytes} MB`)
  printTables(part('bulk'), {
    columns: [
      { title: 'CPU s', figure: 'cpu', digits: 2, quartiles: true },
      { title: 'MB/s', figure: 'mbPerSecond' },
    ],
    ratioOf: 'cpu',
    references,
  })
}

await main()
