/**
 * What a login costs: with a signed token through pgbearer into PostgreSQL, beside PgBouncer and
 * PostgreSQL itself in the same rounds.
 *
 *     npm run bench:login -- [--rounds 7] [--quick] [--only TLS] [--json FILE]
 */
import { fileURLToPath } from 'node:url'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../src/demo/embedded-postgres.ts'
import { findFreePort } from '../src/demo/free-port.ts'
import type { Account, Route } from './lib/client.ts'
import { type Proxy, startHaproxy, startPgbearer, startPgbouncer } from './lib/contenders.ts'
import { childrenCpuMicroseconds, cpuMicroseconds } from './lib/cpu-time.ts'
import { AUDIENCE, type Issuer, SCOPE, startIssuer } from './lib/issuer.ts'
import { logInRepeatedly, warmUpLogins } from './lib/logins.ts'
import { describeMachine, printMachine } from './lib/machine.ts'
import { readOptions, writeJson } from './lib/options.ts'
import { type Program, pinOurselves, pinToLoad, startProgram } from './lib/programs.ts'
import { type Cell, type Contender, runRounds, toJson } from './lib/rounds.ts'
import { printTables } from './lib/table.ts'
import { makeWorkspace, type Workspace } from './lib/workspace.ts'

const PASSWORD = 'a password that only this benchmark knows'
const CLIENTS = 8
const TOKENS = 2000

const options = readOptions(7)
const samples = options.quick
  ? { warmUpMs: 300, measuredMs: 700 }
  : { warmUpMs: 500, measuredMs: 3000 }
/** Until compilers have done with it: a proxy runs for weeks, and its first logins cost five times as much. */
const WARM_UP = options.quick
  ? { logins: 200, longestMs: 3000 }
  : { logins: 4000, longestMs: 40_000 }

interface Scene {
  readonly workspace: Workspace
  readonly postgres: EmbeddedPostgres
  readonly issuer: Issuer & { readonly tokens: readonly string[] }
  /** Accepts everybody at no cost, so that only the proxy's speed counts. */
  readonly fakePort: number
  readonly stopLater: (program: Proxy | Program) => void
}

async function main(): Promise<void> {
  const running: (Proxy | Program)[] = []
  const workspace = await makeWorkspace()
  const machine = describeMachine()
  printMachine(machine)
  const issuer = await startIssuer(workspace, 'bench', TOKENS)
  const postgres = await startPostgres(workspace)
  try {
    pinOurselves()
    pinToLoad(postgres.pid)
    const fakePort = await findFreePort()
    const stopLater = (program: Proxy | Program): void => {
      running.push(program)
    }
    stopLater(await startFakePostgres(fakePort))
    const cells = await makeCells({ workspace, postgres, issuer, fakePort, stopLater })
    const wanted = options.only
    const results = await runRounds(
      wanted === undefined ? cells : cells.filter(({ name }) => name.includes(wanted)),
      options.rounds,
    )
    console.log(`\nLogins by ${CLIENTS} clients at a time; CPU of the proxy in µs for each`)
    printTables(results, {
      columns: [
        { title: 'CPU µs', figure: 'cpu', quartiles: true },
        { title: 'per second', figure: 'perSecond' },
        { title: 'p50 ms', figure: 'p50', digits: 1 },
        { title: 'p99 ms', figure: 'p99', digits: 1 },
        { title: 'asked of issuer', figure: 'issuerRequests' },
      ],
      ratioOf: 'cpu',
      references: ['pgbouncer, any', 'pgbouncer, scram-sha-256', 'haproxy, scram-sha-256 behind'],
    })
    await writeJson(options, { machine, rounds: options.rounds, results: toJson(results) })
  } finally {
    await Promise.all(running.map((program) => program.stop()))
    issuer.stop()
    await postgres.stop()
  }
}

async function startPostgres(workspace: Workspace): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({
    hba: 'host all bench_trust 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n',
    ssl: workspace.certificate,
    settings: { max_connections: 200 },
  })
  await postgres.query(`create role bench login password '${PASSWORD}'`)
  await postgres.query('create role bench_trust login')
  return postgres
}

function startFakePostgres(port: number): Promise<Program> {
  const script = fileURLToPath(new URL('./lib/fake-postgres.js', import.meta.url))
  return startProgram(process.execPath, [script, String(port)], { core: 'load', port })
}

async function makeCells(scene: Scene): Promise<Cell[]> {
  const { postgres, fakePort, issuer } = scene
  const real = await startContenders(scene, 'real', postgres.port)
  const fake = await startContenders(scene, 'fake', fakePort)
  for (const target of [...real, ...fake].filter(({ name }) => name.startsWith('pgbearer'))) {
    const route = routeOf(target, true)
    await warmUpLogins({ route, account: target.account, clients: CLIENTS }, WARM_UP)
  }
  const direct: Target = {
    name: 'PostgreSQL directly, scram-sha-256',
    port: postgres.port,
    account: passwordAccount(),
    cpu: () => childrenCpuMicroseconds(postgres.pid),
  }
  const toContender = (target: Target, tls: boolean): Contender => ({
    name: target.name,
    run: () => measure(target, routeOf(target, tls), issuer),
  })
  return [true, false].flatMap((tls) => {
    const encryption = tls ? 'TLS' : 'plain'
    return [
      {
        name: `${encryption} login, PostgreSQL behind`,
        contenders: [...real, direct].map((target) => toContender(target, tls)),
      },
      {
        name: `${encryption} login, nothing behind`,
        contenders: fake.map((target) => toContender(target, tls)),
      },
    ]
  })
}

interface Target {
  readonly name: string
  readonly port: number
  /** Where TLS begins with the first byte. */
  readonly tlsPort?: number
  readonly account: Account
  readonly cpu: () => number
}

function routeOf({ port, tlsPort }: Target, tls: boolean): Route {
  if (!tls) {
    return { port, encryption: 'plain' }
  }
  return tlsPort === undefined
    ? { port, encryption: 'tls' }
    : { port: tlsPort, encryption: 'direct-tls' }
}

async function measure(
  { account, cpu }: Target,
  route: Route,
  issuer: Issuer,
): Promise<Record<string, number>> {
  const requests = issuer.requestCount()
  const result = await logInRepeatedly({ route, account, clients: CLIENTS, ...samples, cpu })
  return { ...result, issuerRequests: issuer.requestCount() - requests }
}

async function startContenders(scene: Scene, name: string, port: number): Promise<Target[]> {
  const { workspace, issuer, stopLater } = scene
  const targets: Target[] = []
  const add = (title: string, proxy: Proxy, account: Account): void => {
    stopLater(proxy)
    targets.push({
      name: title,
      port: proxy.port,
      ...(proxy.tlsPort === undefined ? {} : { tlsPort: proxy.tlsPort }),
      account,
      cpu: () => cpuMicroseconds(proxy.pid),
    })
  }
  const pgbearer = (title: string, remembered: number): Promise<Proxy> =>
    startPgbearer(workspace, title, {
      upstreamPort: port,
      hba: `host all bench 127.0.0.1/32 oauth issuer=${issuer.url} scope=${SCOPE}\n`,
      settings: 'oauth_validator_libraries = ["jwt"]',
      tables: `[validators.jwt]
audiences = ["${AUDIENCE}"]
token_cache = { entries = ${remembered} }
http = { ca = "ca.crt", egress = "any" }`,
      users: `[bench]\npassword = "${PASSWORD}"\n`,
    })
  add('pgbearer, RS256', await pgbearer(`${name}-verifies`, 0), tokenAccount(issuer.tokens))
  add(
    'pgbearer, RS256, token remembered',
    await pgbearer(`${name}-remembers`, 10_000),
    tokenAccount(issuer.tokens.slice(0, 1)),
  )
  const { programs } = describeMachine()
  if ('pgbouncer' in programs) {
    await addPgbouncers(scene, { name, port, add })
  }
  if ('haproxy' in programs && name === 'real') {
    add('haproxy, scram-sha-256 behind', await startHaproxy(workspace, port), passwordAccount())
  }
  return targets
}

async function addPgbouncers(
  { workspace, postgres }: Scene,
  {
    name,
    port,
    add,
  }: {
    readonly name: string
    readonly port: number
    readonly add: (title: string, proxy: Proxy, account: Account) => void
  },
): Promise<void> {
  const any = {
    upstreamPort: port,
    authType: 'any',
    databases: { postgres: 'bench_trust' },
  } as const
  const anybody: Account = { user: 'bench', database: 'postgres', proof: { kind: 'any' } }
  add('pgbouncer, any', await startPgbouncer(workspace, `${name}-any`, any), anybody)
  const [row] = await postgres.query("select rolpassword from pg_authid where rolname = 'bench'")
  add(
    'pgbouncer, scram-sha-256',
    await startPgbouncer(workspace, `${name}-scram`, {
      upstreamPort: port,
      authType: 'scram-sha-256',
      databases: { postgres: 'bench' },
      users: { bench: String(row?.['rolpassword']) },
    }),
    passwordAccount(),
  )
}

function tokenAccount(tokens: readonly string[]): Account {
  let next = 0
  return {
    user: 'bench',
    database: 'postgres',
    proof: {
      kind: 'token',
      next: () => {
        next += 1
        return tokens[next % tokens.length] ?? ''
      },
    },
  }
}

function passwordAccount(): Account {
  return {
    user: 'bench',
    database: 'postgres',
    proof: { kind: 'scram', credential: { password: PASSWORD } },
  }
}

await main()
