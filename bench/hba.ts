/**
 * What a rule match costs in CPU with many rules, scanned and compiled, and what loading them costs. The
 * rules name distinct databases, users and networks; half of the connections find one.
 *
 *     npm run bench:hba -- [--rounds 5] [--quick] [--json FILE]
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromText } from '../src/byte-string.ts'
import { type CompiledHbaLines, compileHbaLines } from '../src/hba/compile-hba-lines.ts'
import type { HbaConnection, HbaLine } from '../src/hba/hba-line.ts'
import { loadHbaFile } from '../src/hba/load-hba-file.ts'
import { matchHbaLine } from '../src/hba/match-hba-line.ts'
import { describeMachine, printMachine } from './lib/machine.ts'
import { readOptions, writeJson } from './lib/options.ts'
import { median } from './lib/statistics.ts'
import { printRows } from './lib/table.ts'

const options = readOptions(5)
const SIZES = options.quick ? [1000, 10_000] : [1000, 10_000, 100_000]
const KINDS = { mixed: mixedRule, networks: networkRule } as const
const CONTEXT = { oauthValidatorLibraries: ['jwt'], ssl: true }
const MATCHES_PER_SAMPLE = 2000

interface Result {
  readonly kind: string
  readonly rules: number
  readonly loadMs: number
  readonly compileMs: number
  readonly heapMB: number
  readonly scanNs: number
  readonly compiledNs: number
  readonly times: number
}

function octets(value: number): string {
  return `${10 + ((value >>> 16) & 0xff)}.${(value >>> 8) & 0xff}.${value & 0xff}`
}

/** Every rule has a database, a user and a network of its own; every fifth is for all of one. */
function mixedRule(at: number): string {
  const database = at % 5 === 3 ? 'all' : `db_${at},shared_${at % 97}`
  const user = at % 5 === 4 ? 'all' : `user_${at}`
  return `hostssl ${database} ${user} ${octets(at)}.0/24 oauth issuer=https://i.example scope=s`
}

function networkRule(at: number): string {
  return `hostssl all all ${octets(at)}.0/24 oauth issuer=https://i.example scope=s`
}

function connections(rules: number): HbaConnection[] {
  return Array.from({ length: 1024 }, (_, at): HbaConnection => {
    const rule = Math.floor(((at * 7919) % 1024) * (rules / 1024))
    const hit = at % 2 === 0
    return {
      local: false,
      address: `${octets(hit ? rule : rule + rules)}.7`,
      tls: true,
      user: fromText(`user_${rule}`),
      database: fromText(`db_${rule}`),
      physicalReplication: false,
    }
  })
}

/** CPU of this process, so that what else runs on the machine does not count. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

function nsPerMatch(count: number, match: (at: number) => unknown): number {
  const start = cpuMs()
  for (let at = 0; at < count; at++) {
    match(at)
  }
  return ((cpuMs() - start) * 1e6) / count
}

function heapMB(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1e6
}

interface Loaded {
  readonly lines: readonly HbaLine[]
  readonly compiled: CompiledHbaLines
  readonly loadMs: number
  readonly compileMs: number
  readonly heapMB: number
}

function load(path: string): Loaded {
  const before = heapMB()
  const start = cpuMs()
  const { lines, errors } = loadHbaFile(path, CONTEXT)
  if (errors[0] !== undefined) {
    throw errors[0]
  }
  const loaded = cpuMs()
  const compiled = compileHbaLines(lines, 0)
  const compileMs = cpuMs() - loaded
  return { lines, compiled, loadMs: loaded - start, compileMs, heapMB: heapMB() - before }
}

function checkSame({ lines, compiled }: Loaded, asked: readonly HbaConnection[]): void {
  for (const connection of asked.slice(0, 256)) {
    if (matchHbaLine(lines, connection) !== compiled.match(connection)) {
      throw new Error(`the two disagree about ${JSON.stringify(connection)}`)
    }
  }
}

function run(kind: keyof typeof KINDS, rules: number, directory: string): Result {
  const path = join(directory, 'pg_hba.conf')
  writeFileSync(path, Array.from({ length: rules }, (_, at) => `${KINDS[kind](at)}\n`).join(''))
  const loaded = load(path)
  const asked = connections(rules)
  checkSame(loaded, asked)
  const scans: number[] = []
  const compiled: number[] = []
  const connectionAt = (at: number): HbaConnection => asked[at % asked.length] as HbaConnection
  for (let round = 0; round < options.rounds; round++) {
    const count = Math.max(100, Math.floor(4_000_000 / rules))
    scans.push(
      nsPerMatch(Math.min(count, MATCHES_PER_SAMPLE), (at) =>
        matchHbaLine(loaded.lines, connectionAt(at)),
      ),
    )
    compiled.push(
      nsPerMatch(MATCHES_PER_SAMPLE * 10, (at) => loaded.compiled.match(connectionAt(at))),
    )
  }
  return {
    kind,
    rules,
    loadMs: loaded.loadMs,
    compileMs: loaded.compileMs,
    heapMB: loaded.heapMB,
    scanNs: median(scans),
    compiledNs: median(compiled),
    times: median(scans.map((scan, at) => scan / (compiled[at] ?? NaN))),
  }
}

const machine = describeMachine()
printMachine(machine)
const directory = mkdtempSync(join(tmpdir(), 'pgbearer-bench-hba-'))
try {
  const results = SIZES.flatMap((rules) =>
    (['mixed', 'networks'] as const).map((kind) => run(kind, rules, directory)),
  )
  printRows([
    ['rules', 'kind', 'load ms', 'compile ms', 'heap MB', 'scan ns', 'compiled ns', 'times faster'],
    ...results.map((it) => [
      String(it.rules),
      it.kind,
      ...[it.loadMs, it.compileMs, it.heapMB, it.scanNs, it.compiledNs, it.times].map((value) =>
        value.toFixed(0),
      ),
    ]),
  ])
  console.log(`peak resident memory: ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`)
  await writeJson(options, { machine, results })
} finally {
  rmSync(directory, { recursive: true, force: true })
}
