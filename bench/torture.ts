/**
 * What the logins of good modules feel of bad ones: a proxy with every module of the fixtures that misbehaves, all of
 * them at it at once, and a steady load of good logins beside them, through a module in a worker and through a
 * bundled one in pgbearer's own thread.
 *
 *     npm run bench:torture -- [--rounds 3] [--quick] [--only 'one core'] [--json FILE]
 */
import { copyFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../src/demo/free-port.ts'
import { type Account, closeSession, openSession, type Route } from './lib/client.ts'
import { type Proxy, startPgbearer } from './lib/contenders.ts'
import { cpuMicroseconds } from './lib/cpu-time.ts'
import { AUDIENCE, type Issuer, SCOPE, startIssuer } from './lib/issuer.ts'
import { warmUpLogins } from './lib/logins.ts'
import { describeMachine, printMachine } from './lib/machine.ts'
import { logInSteadily, type SteadyResult } from './lib/open-loop.ts'
import { readOptions, writeJson } from './lib/options.ts'
import { type Core, type Program, pinOurselves, startProgram } from './lib/programs.ts'
import { printRows, withQuartiles } from './lib/table.ts'
import { makeWorkspace, type Workspace } from './lib/workspace.ts'

/** Each good module gets a login every so often. */
const EVERY_MS = 10
/** How long the client of a bad module waits before it comes again. */
const PAUSE_MS = 300
/** As in `oauth_validator_libraries` of people who do not trust a module. */
const HOST = 'validator_timeout = "1s"\nresource_limits = { max_old_generation_size_mb = 32 }'

const options = readOptions(3)
const times = options.quick
  ? { warmUp: 300, refusalsMs: 500, calmMs: 1000, stormMs: 3000 }
  : { warmUp: 4000, refusalsMs: 3000, calmMs: 6000, stormMs: 12_000 }

/** The module, and the role for which it misbehaves. */
const BAD: readonly (readonly [string, string])[] = [
  ['spins', 'spin'],
  ['burns-its-core', 'burn'],
  ['floods-its-log', 'flood'],
  ['eats-memory', 'eat'],
  ['calls-process-exit', 'exit'],
  ['fails-after-its-answer', 'throw'],
  ['fails-after-its-answer', 'reject'],
  ['answers-late', 'bench'],
  ['answers-late', 'reject'],
  ...[
    'never-settles',
    'startup-never-settles',
    'throws-in-startup',
    'throws-in-validate',
    'throws-in-shutdown',
    'throws-nonsense',
    'throws-the-token',
    'returns-false',
    'returns-true',
    'getter-throws',
    'proxy-result',
    'pollutes-prototypes',
    'huge-authn-id',
    'control-character',
    'lone-surrogate',
    'token-as-identity',
    'resolves-twice',
    'changes-its-answer',
    'mutates-its-request',
    'keeps-the-token',
    'logs-its-request',
    'prints-the-token',
  ].map((module) => [module, 'bench'] as const),
]

/** They fail, and do no harm: the proxy gets to know them before anything is measured. */
const WARMING = ['throws-in-validate', 'throws-in-startup', 'returns-false', 'logs-its-request']

type Issued = Issuer & { readonly tokens: readonly string[] }

interface Scene {
  readonly workspace: Workspace
  readonly issuer: Issued
  readonly fakePort: number
}

const account = (user: string, database: string, token: () => string): Account => ({
  user,
  database,
  proof: { kind: 'token', next: token },
})

async function startTortured({ workspace, issuer, fakePort }: Scene, core: Core): Promise<Proxy> {
  const modules = [...new Set(BAD.map(([module]) => module))]
  for (const module of ['accepts-anything', ...modules]) {
    copyFileSync(
      path.resolve(`test/fixtures/validators/${module}.js`),
      path.join(workspace.directory, `${module}.js`),
    )
  }
  workspace.write('package.json', '{ "type": "module" }')
  const rule = (database: string, validator: string): string =>
    `host ${database} all 127.0.0.1/32 oauth issuer=${issuer.url} scope=${SCOPE} validator=${validator}\n`
  const paths = ['accepts-anything', ...modules].map((module) => `./${module}.js`)
  return startPgbearer(workspace, 'torture', {
    upstreamPort: fakePort,
    core,
    hba: [
      rule('worker', './accepts-anything.js'),
      rule('thread', 'jwt'),
      ...modules.map((module) => rule(module, `./${module}.js`)),
    ].join(''),
    settings: `oauth_validator_libraries = ${JSON.stringify(['jwt', ...paths])}`,
    tables: [
      `[validators.jwt]\naudiences = ["${AUDIENCE}"]\nhttp = { ca = "ca.crt", egress = "any" }`,
      ...modules.map((module) => `[validator_hosts.${module}]\n${HOST}`),
    ].join('\n'),
  })
}

/** Figures of one phase, by good module. */
type Phase = Readonly<Record<'worker' | 'thread', SteadyResult>> & { readonly cpu: number }

async function measure(
  { pid }: Proxy,
  route: Route,
  good: Readonly<Record<'worker' | 'thread', Account>>,
  forMs: number,
): Promise<Phase> {
  const before = cpuMicroseconds(pid)
  const [worker, thread] = await Promise.all([
    logInSteadily({ route, account: good.worker, everyMs: EVERY_MS, forMs }),
    sleep(EVERY_MS / 2).then(() =>
      logInSteadily({ route, account: good.thread, everyMs: EVERY_MS, forMs }),
    ),
  ])
  return { worker, thread, cpu: (cpuMicroseconds(pid) - before) / 1000 / forMs }
}

/** Comes again and again until it is over, whatever it is told. */
async function pester(
  route: Route,
  who: Account,
  over: AbortSignal,
  pauseMs: number,
): Promise<void> {
  await sleep(Math.random() * pauseMs)
  while (!over.aborted) {
    await openSession(route, who).then(closeSession, () => {})
    await sleep(pauseMs)
  }
}

async function beside<T>(
  route: Route,
  others: readonly Account[],
  act: () => Promise<T>,
  pauseMs = PAUSE_MS,
): Promise<T> {
  const over = new AbortController()
  const all = others.map((who) => pester(route, who, over.signal, pauseMs))
  const result = await act()
  over.abort()
  // Some of the bad ones are never told anything.
  await Promise.race([Promise.all(all), sleep(5000)])
  return result
}

/** One round: a proxy that has seen nothing bad yet, since later it knows whom to leave alone. */
interface Round {
  readonly alone: Phase
  /** With as many other clients, of good modules. */
  readonly company: Phase
  readonly storm: Phase
}

async function runRound(scene: Scene, core: Core): Promise<Round> {
  const proxy = await startTortured(scene, core)
  const route: Route = { port: proxy.port, encryption: 'plain' }
  let next = 0
  const token = (): string => {
    next += 1
    return scene.issuer.tokens[next % scene.issuer.tokens.length] ?? ''
  }
  const good = {
    worker: account('bench', 'worker', () => 'bench'),
    thread: account('bench', 'thread', token),
  }
  try {
    // Refusals and faults, too: V8 has to know them all, as it does in a proxy that has run for a day.
    const failing = WARMING.map((module) => account('bench', module, () => 'a-token'))
    await beside(route, failing, () => sleep(times.refusalsMs), 0)
    for (const who of [good.worker, good.thread]) {
      const target = { route, account: who, clients: 4 }
      await warmUpLogins(target, { logins: times.warmUp, longestMs: 20_000 })
    }
    const alone = await measure(proxy, route, good, times.calmMs)
    const others = BAD.map((_, at) => (at % 2 === 0 ? good.worker : good.thread))
    const company = await beside(route, others, () => measure(proxy, route, good, times.calmMs))
    const bad = BAD.map(([module, role]) => account(role, module, () => 'a-token-of-a-stranger'))
    const storm = await beside(route, bad, () => measure(proxy, route, good, times.stormMs))
    return { alone, company, storm }
  } finally {
    await proxy.stop()
  }
}

function print(name: string, rounds: readonly Round[]): void {
  const head = [name, 'logins', 'lost', 'p50 ms', 'p99 ms', 'longest', 'p50 / alone', 'p99 / alone']
  const rows = (['worker', 'thread'] as const).flatMap((module) =>
    (['alone', 'company', 'storm'] as const).map((phase) => {
      const of = (figure: keyof SteadyResult): number[] =>
        rounds.map((round) => round[phase][module][figure])
      const ratio = (figure: 'p50' | 'p99'): number[] =>
        rounds.map((round) => round[phase][module][figure] / round.alone[module][figure])
      return [
        `${module}, ${phase}`,
        ...[of('logins'), of('lost')].map((all) => String(all.reduce((sum, one) => sum + one, 0))),
        withQuartiles(of('p50'), 2),
        withQuartiles(of('p99'), 2),
        String(Math.round(Math.max(...of('longest')))),
        ...(phase === 'alone'
          ? ['', '']
          : [withQuartiles(ratio('p50'), 2), withQuartiles(ratio('p99'), 2)]),
      ]
    }),
  )
  printRows([head, ...rows])
  for (const phase of ['alone', 'company', 'storm'] as const) {
    const cores = rounds.map((round) => round[phase].cpu)
    console.log(`cores in use, ${phase}: ${withQuartiles(cores, 2)}`)
  }
}

async function main(): Promise<void> {
  const machine = describeMachine()
  printMachine(machine)
  const workspace = await makeWorkspace()
  const issuer = await startIssuer(workspace, 'bench', 2000)
  let fake: Program | undefined
  try {
    pinOurselves()
    const fakePort = await findFreePort()
    const script = fileURLToPath(new URL('./lib/fake-postgres.js', import.meta.url))
    fake = await startProgram(process.execPath, [script, String(fakePort)], {
      core: 'load',
      port: fakePort,
    })
    const cells = (
      [
        { name: 'the proxy on both cores', core: 'both' },
        { name: 'the proxy on one core', core: 'server' },
      ] as const
    )
      .filter(({ name }) => name.includes(options.only ?? ''))
      .map((cell) => ({ ...cell, rounds: [] as Round[] }))
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const cell of cells) {
        cell.rounds.push(await runRound({ workspace, issuer, fakePort }, cell.core))
      }
      console.log(`round ${round} of ${options.rounds}`)
    }
    for (const { name, rounds } of cells) {
      print(name, rounds)
    }
    await writeJson(options, { machine, cells })
  } finally {
    await fake?.stop()
    issuer.stop()
  }
}

await main()
